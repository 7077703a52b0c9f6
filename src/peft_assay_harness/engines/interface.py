"""What an engine is: a base of one kind, bare or with an adapter on, that answers the questions of the wire protocol.

Laws that every engine keeps in float32: an answer does not depend on what else is asked with it (log-probabilities
within 1e-4, greedy tokens exactly), and it is what PEFT's own forward and generate give for one text at a time. Rows of
one batch always belong to the same adapter: PEFT's per-row `adapter_names`, which some adapter types ignore without a
word, is never used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Tokens = tuple[int, ...]
Prompt = str | list[dict[str, str]]
"""A text, or a conversation for the chat template."""
Trace = dict[str, Any]
"""`Trace` of the wire protocol."""


class Unanswerable(RuntimeError):
    """A base of this kind has no answer to such a question."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a continuation is scored after. Hashable: the same row is computed once."""

    context: Tokens
    continuation: Tokens
    draw: int = 0
    """Which of several answers that are drawn to the same context this is; always 0 where nothing is drawn."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer to depart from, and at each of its positions the ids whose log-probability is wanted."""

    tokens: Tokens
    watch: Sequence[Sequence[int]]


class Answers(NamedTuple):
    """One entry for each prompt."""

    tokens: list[Tokens]
    """End-of-sequence included where it came."""
    traces: list[Trace | None]
    """Over the draft; without any drafts over the answer itself, where that was asked; None where neither was."""
    leads: list[list[float] | None]
    """By how many nats each token of the answer led the next likeliest; None where it was drawn."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw instead of taking the likeliest token."""

    temperature: float
    top_p: float
    seed: int
    top_k: int = 0
    """0 for all tokens."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Insertion:
    """A prompt, what would be said to it, and where in the prompt something could be inserted (share of its words)."""

    prompt: Prompt
    continuation: Tokens
    place: float


class Engine(Protocol):
    """One base of one kind. Methods raise Unanswerable where a base of that kind has nothing to say."""

    model: Any
    """The base, bare or wrapped by PEFT."""
    tokenizer: Any
    task: str
    """Key of `peft_assay_harness.tasks.TASKS`."""

    def use(self, model: Any) -> None:
        """Switches to `model`: the base, bare or in another wrapping."""

    def precise(self) -> "Engine":
        """An engine on a float32 copy (on the same model where it is float32 already)."""

    @property
    def longest(self) -> int | None:
        """Most tokens that a prompt and its answer may have together; None where the base states no bound."""

    def length(self, prompt: Prompt) -> int | None:
        """Tokens of a prompt; None when it does not tokenize."""

    def encode(self, prompt: Prompt) -> Tokens:
        """Token ids of a prompt; raises ValueError when the base cannot take it."""

    def row(self, prompt: Prompt, continuation: str | Sequence[int]) -> Row:
        """Prompt and continuation, a text or token ids; raises ValueError when the base cannot take them."""

    def outputs(self, prompts: Sequence[Prompt], *, most: int | None = None) -> Any:
        """What the base says to each prompt, one at a time: float32 tensor of shape (prompts, outputs).

        With `most`, after no more than so many tokens of each, where the base can say something after any of them.
        """

    def log_likelihoods(self, rows: Sequence[Row]) -> list[float]:
        """Sum of log-probabilities (natural logarithm) of each row's continuation."""

    def traces(self, rows: Sequence[Row], watch: Sequence[Sequence[Sequence[int]] | None], top: int) -> list[Trace]:
        """How the model sees each continuation, with the watched ids, or the `top` likeliest where there are none."""

    def generate(
        self,
        prompts: Sequence[Tokens],
        limit: int,
        drafts: Sequence[Draft | None] | None = None,
        sampling: Sampling | None = None,
        top: int = 0,
    ) -> Answers:
        """Answers of at most `limit` tokens. `top`: without drafts, trace the answers with so many likeliest tokens."""

    def classify(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """Logits over the base's labels for each prompt."""

    def propose(self, items: Sequence[Insertion], top: int) -> list[str]:
        """Words of one token that would, by the gradient, make the continuations least likely."""
