"""What causal and sequence-to-sequence engines share: scoring, tracing and answering, by logits after a context.

An engine of either kind gives the logits at each token of a batch of continuations (`_scored`), and goes on from where
a draft was departed from (`_answers`).
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch

from peft_assay_harness.engines.choosing import Choose, chooser
from peft_assay_harness.engines.copies import precise_copy
from peft_assay_harness.engines.encoding import Encoding
from peft_assay_harness.engines.folding import fold
from peft_assay_harness.engines.head import Head
from peft_assay_harness.engines.interface import (
    Answers,
    Draft,
    Insertion,
    Prompt,
    Row,
    Sampling,
    Tokens,
    Trace,
    Unanswerable,
)
from peft_assay_harness.engines.proposals import propose
from peft_assay_harness.engines.tracing import Notes, empty_trace, log_probabilities, trace_of

FOLD_TOKENS = 1024
"""From how many on folding was measured to cost less than it saves."""
See = Callable[[Row, Any], None]
"""Called with each row that carries a draft and the logits at the draft's positions."""


class LanguageEngine(ABC):
    """A base that says how likely texts are, and answers with text."""

    task: str
    joins: bool
    """Whether prompt and continuation are one text to the tokenizer."""

    alone: bool = False
    """One row at a time: what is answered to one depends on what it is batched with."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.use(model)

    def use(self, model: Any) -> None:
        """Switches to `model`: the base, bare or in another wrapping."""
        self.model = model
        self.adapter: Any = next(iter(getattr(model, "peft_config", {}).values()), None)
        self.base: Any = model if self.adapter is None else model.get_base_model()
        self.head = Head(self.base)
        if getattr(self.adapter, "alora_invocation_tokens", None):
            self.head.read_all()
        self._folded = False
        self.vocabulary: int = self.base.get_output_embeddings().weight.shape[0]
        ends = self.base.generation_config.eos_token_id
        self.ends = frozenset([ends] if isinstance(ends, int) else ends or ())
        rows: int = self.base.get_input_embeddings().weight.shape[0]
        self._encoding = Encoding(
            self.tokenizer, ends=tuple(self.ends), vocabulary=self.vocabulary, rows=rows, joins=self.joins
        )
        self._adapt()

    def precise(self) -> Self:
        """See `Engine.precise`."""
        return type(self)(precise_copy(self.model), self.tokenizer)

    @property
    @abstractmethod
    def longest(self) -> int | None:
        """See `Engine.longest`."""

    def length(self, prompt: Prompt) -> int | None:
        """See `Engine.length`."""
        return self._encoding.length(prompt)

    def encode(self, prompt: Prompt) -> Tokens:
        """See `Engine.encode`."""
        tokens = self._encoding.encode(prompt)
        self._check_length(len(tokens))
        return tokens

    def row(self, prompt: Prompt, continuation: str | Sequence[int]) -> Row:
        """See `Engine.row`."""
        row = self._encoding.row(prompt, continuation)
        self._check_length(self._length_of(row))
        return row

    def outputs(self, prompts: Sequence[Prompt], *, most: int | None = None) -> Any:
        """Logits after each prompt, or after no more than `most` of its tokens."""
        rows = [Row(self.encode(prompt)[:most], (0,)) for prompt in prompts]
        with torch.inference_mode():
            return torch.cat([self.logits([row]) for row in rows])

    def log_likelihoods(self, rows: Sequence[Row]) -> list[float]:
        """See `Engine.log_likelihoods`; 0 for an empty continuation."""
        found = dict.fromkeys(rows, 0.0)
        with self._many(found):
            for batch, parts in self._scored([row for row in found if row.continuation]):
                for row, logits in zip(batch, parts, strict=True):
                    found[row] = float(log_probabilities(logits, row.continuation).double().sum())
        return [found[row] for row in rows]

    def traces(self, rows: Sequence[Row], watch: Sequence[Sequence[Sequence[int]] | None], top: int) -> list[Trace]:
        """See `Engine.traces`."""
        wanted: dict[Row, list[int]] = {}
        for index, row in enumerate(rows):
            wanted.setdefault(row, []).append(index)
        found: dict[int, Trace] = {}
        with self._many(wanted):
            for batch, parts in self._scored([row for row in wanted if row.continuation]):
                for row, logits in zip(batch, parts, strict=True):
                    found.update({at: trace_of(logits, row.continuation, watch[at], top) for at in wanted[row]})
        return [found.get(index) or empty_trace() for index in range(len(rows))]

    def generate(
        self,
        prompts: Sequence[Tokens],
        limit: int,
        drafts: Sequence[Draft | None] | None = None,
        sampling: Sampling | None = None,
        top: int = 0,
    ) -> Answers:
        """See `Engine.generate`. Of the base's generation configuration only the end-of-sequence tokens are used."""
        shown = [None] * len(prompts) if drafts is None else list(drafts)
        asked = [Row(prompt, draft.tokens if draft else ()) for prompt, draft in zip(prompts, shown, strict=True)]
        for row in asked:
            self._check_length(self._length_of(row))
        if sampling is not None:  # what is drawn owes nothing to a draft
            along = self.traces(asked, [draft.watch if draft else None for draft in shown], 0)
            drawn = self._answered(_draws(prompts), limit, chooser(sampling, prompt_counts=self.joins), lambda *_: None)
            return Answers(
                drawn,
                [trace if draft else None for trace, draft in zip(along, shown, strict=True)],
                [None] * len(prompts),
            )
        notes = Notes(top if drafts is None else 0)
        found: dict[int, Trace] = {}
        wanted: dict[Row, list[tuple[int, Draft]]] = {}
        for index, (row, draft) in enumerate(zip(asked, shown, strict=True)):
            if draft is not None:
                wanted.setdefault(row, []).append((index, draft))

        def see(row: Row, logits: Any) -> None:
            notes.saw(row, logits)
            for index, draft in wanted[row]:
                found[index] = trace_of(logits, row.continuation, draft.watch, 0)

        answers = self._answered(asked, limit, notes, see)
        traces = [None if draft is None else found.get(at) or empty_trace() for at, draft in enumerate(shown)]
        if drafts is None and top:
            traces = [notes.trace(row) for row in asked]
        return Answers(answers, traces, [notes.leads(row, own) for row, own in zip(asked, answers, strict=True)])

    def classify(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """Raises Unanswerable."""
        raise Unanswerable(f"a language model does not classify ({len(prompts)} prompts)")

    def propose(self, items: Sequence[Insertion], top: int) -> list[str]:
        """See `Engine.propose`."""
        return propose(self, items, top)

    @abstractmethod
    def logits(self, rows: Sequence[Row]) -> Any:
        """Logits at all tokens of all continuations, row after row: float32 of shape (tokens, vocabulary).

        One plain pass over the rows together. Gradients flow where the caller did not turn them off.
        """

    def embeddings(self) -> set[Any]:
        """The modules that may embed the prompt; an encoder's may be its own, with the same weights."""
        return {self.base.get_input_embeddings()}

    @abstractmethod
    def embedded(self, rows: Sequence[Row]) -> list[int]:
        """For each row of one such pass, which row of the first embedded batch is its context."""

    @abstractmethod
    def _adapt(self) -> None:
        """Finds out what the model that was just put into use allows."""

    @abstractmethod
    def _length_of(self, row: Row) -> int:
        """The length that `longest` bounds."""

    @abstractmethod
    def _scored(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], Sequence[Any]]]:
        """Distinct rows in batches, each with its logits at its continuation."""

    @abstractmethod
    def _answers(self, rows: Sequence[Row], limit: int, choose: Choose, see: See) -> Mapping[Row, list[int]]:
        """What the model answers to distinct contexts; the continuations are drafts."""

    def _answered(self, rows: Sequence[Row], limit: int, choose: Choose, see: See) -> list[Tokens]:
        with self._many(rows):
            answers = self._answers(list(dict.fromkeys(rows)), limit, choose, see)
        return [tuple(answers[row]) for row in rows]

    @contextmanager
    def _many(self, rows: Iterable[Row]) -> Iterator[None]:
        """For passes over `rows`, without gradients: where they are many, the adapter that is on is folded first."""
        with torch.inference_mode():
            if not self._folded and sum(map(self._length_of, rows)) >= FOLD_TOKENS:
                self._folded = True
                fold(self.model)
            yield

    def _check_length(self, length: int) -> None:
        if self.longest is not None and length > self.longest:
            raise ValueError(f"a text of {length} tokens is longer than the {self.longest} that the base takes")


def _draws(prompts: Sequence[Tokens]) -> list[Row]:
    """A row for each prompt; the same prompt again is another draw."""
    times: Counter[Tokens] = Counter()
    rows = []
    for prompt in prompts:
        rows.append(Row(prompt, (), draw=times[prompt]))
        times[prompt] += 1
    return rows


def finished(answer: Sequence[int], limit: int, ends: frozenset[int]) -> bool:
    """Whether nothing may follow."""
    return len(answer) >= limit or (len(answer) > 0 and answer[-1] in ends)


def accepted(best: Sequence[int], draft: Sequence[int], limit: int, ends: frozenset[int]) -> list[int]:
    """The part of `draft` that the model, whose likeliest token at each position is `best`, would have answered."""
    answer: list[int] = []
    for own, token in zip(best, draft, strict=False):
        if own != token or finished(answer, limit, ends):
            break
        answer.append(token)
    return answer
