"""Scoring, outside the sandbox: the supervisor holds the expected answers, the child never sees them."""

from collections.abc import Callable, Sequence

from peft_assay.core.suite import Case, ScorerKind, Suite
from peft_assay.observe.suites import compile_pattern

Scores = Callable[[Case, str], bool]


def text_scorer(suite: Suite) -> Scores:
    """How to score generated text of `suite`: `exact` compares after joining white space, `regex` searches."""
    if suite.scorer.kind is ScorerKind.REGEX:
        pattern = compile_pattern(suite.scorer.pattern or "", where=f"suite {suite.id}: scorer.pattern")
        return lambda _case, answer: pattern.search(answer) is not None
    return lambda case, answer: _joined(answer) == _joined(case.expected or "")


def _joined(text: str) -> str:
    return " ".join(text.split())


def choice_passes(case: Case, log_likelihoods: Sequence[float]) -> bool:
    """Whether the right choice is the single most likely one; a tie is a failure."""
    best = max(log_likelihoods)
    return log_likelihoods.count(best) == 1 and log_likelihoods.index(best) == case.answer
