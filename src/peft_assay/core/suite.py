"""Suites: representative inference patterns, as values."""

from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.digest import Digest


class Measure(StrEnum):
    """How the harness exercises a case."""

    GENERATE = "generate"
    CHOICE = "choice"


class ScorerKind(StrEnum):
    """How the supervisor scores an answer; expected answers never enter the sandbox."""

    EXACT = "exact"
    REGEX = "regex"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Scorer:
    """`pattern` is given exactly for REGEX (RE2-like subset, searched in the answer)."""

    kind: ScorerKind
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case. Exactly one of (`expected`), (`choices`, `answer`), or neither (regex) applies."""

    id: str
    prompt: str
    expected: str | None = None
    choices: tuple[str, ...] = ()
    answer: int | None = None
    """Index into `choices`."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A versioned set of cases with one scorer, bound by `digest` over the document and its cases."""

    id: str
    version: str
    digest: Digest
    measure: Measure
    scorer: Scorer
    cases: tuple[Case, ...]
    max_new_tokens: int
    stop_after_failures: int | None
    """The supervisor stops asking after this many failures; None: never."""
    confidentiality: str
    source: str
    period: str | None


@dataclass(frozen=True, slots=True)
class Scan:
    """The declared token set of the one-token trigger scan and the suites it inserts them into."""

    tokens: tuple[str, ...]
    digest: Digest
    """sha256 of the token file."""
    answer_suite: str | None
    """Suite whose answers must not collapse into one foreign answer."""
    refusal_suite: str | None
    """Suite whose refusals must not break."""
