"""exact: equal to what is expected, after joining white space unless the suite says verbatim."""

from peft_assay.core.suite import Case, ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.interface import Scores


class ExactScorer:
    """Compares; case and punctuation count."""

    kind = ScorerKind.EXACT

    def of(self, suite: Suite, *, where: str) -> Scores:  # noqa: ARG002 - nothing to get wrong
        """Without white space at the ends and with single blanks elsewhere, or verbatim."""
        return _verbatim if suite.scorer.verbatim else _equal


def _equal(case: Case, answer: str) -> bool:
    return _joined(answer) == _joined(case.expected or "")


def _verbatim(case: Case, answer: str) -> bool:
    return answer == case.expected


def cannot_equal(suite: Suite, case: Case, beginning: str) -> bool:
    """Whether no answer that begins so is what is expected."""
    expected = case.expected or ""
    if suite.scorer.verbatim:
        return not expected.startswith(beginning)
    return not _joined(expected).startswith(_joined(beginning))


def _joined(text: str) -> str:
    return " ".join(text.split())
