"""Suites: representative inference patterns, as values."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.judge import Judge

_WORDS = re.compile(r"\w+")


class Measure(StrEnum):
    """How the harness exercises a case."""

    GENERATE = "generate"
    CHOICE = "choice"
    LIKELIHOOD = "likelihood"
    """How likely is the expected text after the prompt?"""
    CLASSIFY = "classify"
    """Which label does a classifier of sequences give?"""


class ScorerKind(StrEnum):
    """How the supervisor scores an answer; expected answers never enter the sandbox."""

    EXACT = "exact"
    REGEX = "regex"
    CHOICE = "choice"
    JSON_SCHEMA = "jsonSchema"
    TOOL_CALL = "toolCall"
    REFUSAL = "refusal"
    """Passes when the answer is a refusal."""
    COMPLIANCE = "compliance"
    """Passes when the answer is none: harmless look-alikes of what is to be refused."""
    FORBIDDEN = "forbidden"
    """Passes when none of the suite's patterns occurs in the answer."""
    INJECTION = "injection"
    """Passes when the answer does not do what an instruction inside the case's own content asks for."""
    PERPLEXITY = "perplexity"
    LABEL = "label"
    JUDGE = "judge"
    """A program of the consumer's decides; its reply is untrusted."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """``system``, ``user``, ``assistant`` or ``tool``."""
    content: str


Prompt = str | tuple[Message, ...]
"""A text as the model gets it, or a conversation that the base's chat template renders."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """How answers of a suite are scored; which fields are given depends on `kind`."""

    kind: ScorerKind
    pattern: str | None = None
    """REGEX: an RE2 pattern, searched in the answer."""
    patterns: tuple[str, ...] = ()
    """REFUSAL, COMPLIANCE: what refusals look like; FORBIDDEN: what must not occur. RE2, searched."""
    schema: Mapping[str, Any] | None = None
    """JSON_SCHEMA: a schema without references."""
    maximum: float | None = None
    """PERPLEXITY: largest perplexity of a case that passes."""
    judge: str | None = None
    """JUDGE: name under which the trust anchor has the judge."""
    until: tuple[str, ...] = ()
    """EXACT, REGEX: the answer ends before the first of these."""
    verbatim: bool = False
    """EXACT: white space counts."""
    labels: tuple[str, ...] = ()
    """LABEL: the base's labels in the order of its logits; not of the document, the base's configuration has them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case; which of the fields apply depends on the suite's scorer."""

    id: str
    prompt: Prompt
    expected: str | None = None
    """The right answer (EXACT), the text whose likelihood is taken (PERPLEXITY), the call or calls as JSON (TOOL_CALL),
    the label's name (LABEL), what a judge compares with (JUDGE); elsewhere an example of an answer that passes."""
    choices: tuple[str, ...] = ()
    answer: int | None = None
    """Index into `choices`."""
    forbidden: tuple[str, ...] = ()
    """INJECTION: texts that show that the injected instruction was followed."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A versioned set of cases with one scorer, bound by `digest` over the document and its cases."""

    id: str
    version: str
    digest: Digest
    measure: Measure
    scorer: Scorer
    cases: tuple[Case, ...]
    """The cases in use; those held back are not among them."""
    max_new_tokens: int
    stop_after_failures: int | None
    """The supervisor stops asking after this many failures; None: never."""
    confidentiality: str
    source: str
    period: str | None
    system_prompt: str | None = None
    """The context's, put before every conversation that has none of its own."""
    held_back: int = 0
    """The number of cases that the suite holds back."""
    held_back_in: str | None = None
    """The quarter of the year for which they were chosen; None where the suite holds nothing back."""
    owner: str | None = None
    """Id of the key that the suite was found to be signed by, where its context asks for an owner's signature."""
    judge: Judge | None = field(default=None, compare=False, repr=False)
    """What decides where the scorer is JUDGE; None: no judge of that name is at hand."""

    @property
    def judged(self) -> bool:
        """Whether a judge decides: it is asked about the suite's own answers only, once for each."""
        return self.scorer.kind is ScorerKind.JUDGE

    def ask_form(self, case: Case) -> str | list[dict[str, str]]:
        """`case`'s prompt as a request carries it."""
        return ask_form(case.prompt, self.system_prompt)


def content_of(case: Case, *purpose: str) -> tuple[Digest, Digest]:
    """Return digests of the words that `case` asks and, for cases that ask the same, of those it expects.

    A choice that follows from something that costs nothing to change can be searched for a lucky one. So ids, comments,
    other cases, the order of choices, letter case, white space and punctuation have no say.
    """
    prompt = (
        [case.prompt] if isinstance(case.prompt, str) else [text for m in case.prompt for text in (m.role, m.content)]
    )
    rest = [_words(case.expected or ""), sorted(map(_words, case.choices))]
    return canonical_digest([*purpose, list(map(_words, prompt))]), canonical_digest([*purpose, rest])


def _words(text: str) -> str:
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).casefold()))


def questions_digest(suites: Sequence[Suite]) -> Digest:
    """Return a digest of the questions of all cases in use, whatever their order; seeds derive from it."""
    asked = {content_of(case, "peft-assay/questions/v1")[0] for suite in suites for case in suite.cases}
    return canonical_digest(sorted(asked))


def ask_form(prompt: Prompt, system: str | None = None) -> str | list[dict[str, str]]:
    """`prompt` as a request carries it; `system` is put before a conversation that does not begin with its own."""
    if isinstance(prompt, str):
        return prompt
    own = bool(prompt) and prompt[0].role == "system"
    whole = prompt if own or system is None else (Message("system", system), *prompt)
    return [{"role": message.role, "content": message.content} for message in whole]


def last_user_text(prompt: Prompt) -> str:
    """The text that a variation or a scan works on: the prompt, or what the user said last."""
    return prompt if isinstance(prompt, str) else prompt[_last_user(prompt)].content


def with_user_text(prompt: Prompt, text: str) -> Prompt:
    """`prompt` with `text` in the place of `last_user_text`."""
    if isinstance(prompt, str):
        return text
    at = _last_user(prompt)
    return (*prompt[:at], replace(prompt[at], content=text), *prompt[at + 1 :])


def _last_user(prompt: Sequence[Message]) -> int:
    """Index of the last message of the user's, or of the last message where there is none."""
    return max((at for at, message in enumerate(prompt) if message.role == "user"), default=len(prompt) - 1)
