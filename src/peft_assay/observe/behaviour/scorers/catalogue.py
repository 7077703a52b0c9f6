"""All scorers of generated text, listed in code."""

from collections.abc import Mapping, Sequence

from peft_assay.core.suite import Case, Measure, ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.exact import ExactScorer, cannot_equal
from peft_assay.observe.behaviour.scorers.forbidden import ForbiddenScorer, InjectionScorer
from peft_assay.observe.behaviour.scorers.interface import MAX_ANSWER, Scores, TextScorer
from peft_assay.observe.behaviour.scorers.judged import JudgeScorer
from peft_assay.observe.behaviour.scorers.refusal import ComplianceScorer, RefusalScorer
from peft_assay.observe.behaviour.scorers.regex import RegexScorer
from peft_assay.observe.behaviour.scorers.schema import JsonSchemaScorer
from peft_assay.observe.behaviour.scorers.tool_call import ToolCallScorer

_ALL: tuple[TextScorer, ...] = (
    ExactScorer(),
    RegexScorer(),
    JsonSchemaScorer(),
    ToolCallScorer(),
    RefusalScorer(),
    ComplianceScorer(),
    ForbiddenScorer(),
    InjectionScorer(),
    JudgeScorer(),
)
TEXT_SCORERS: Mapping[ScorerKind, TextScorer] = {scorer.kind: scorer for scorer in _ALL}
"""What scores generated text, by kind; choices, labels and perplexities are numbers (`scorers.numbers`)."""


def text_scorer(suite: Suite, *, where: str | None = None) -> Scores:
    """How to score generated text of `suite`; raises DocumentError for a scorer that says something wrongly.

    Too long an answer fails unread. The result raises nothing but JudgeFailed, and that only for a judge's suite.
    """
    scores = TEXT_SCORERS[suite.scorer.kind].of(suite, where=where or f"suite {suite.id}")

    def bounded(case: Case, answer: str) -> bool:
        return len(answer) <= MAX_ANSWER and scores(case, _ended(answer, suite.scorer.until))

    return bounded


def cannot_pass(suite: Suite, case: Case, beginning: str) -> bool:
    """Whether no answer that begins so passes; False where only a whole answer tells, or a choice was asked.

    An answer may end anywhere from where one of the suite's `until` could begin, which may come to be completed later.
    """
    if suite.measure is not Measure.GENERATE or suite.scorer.kind is not ScorerKind.EXACT:
        return False
    return cannot_equal(suite, case, beginning[: _first_end(beginning, suite.scorer.until)])


def _first_end(text: str, until: Sequence[str]) -> int:
    """Where the first of the texts, at which an answer ends, begins in it or may turn out to begin."""
    for at in range(len(text)):
        left = len(text) - at
        if any(text.startswith(end, at) or (left < len(end) and end.startswith(text[at:])) for end in until):
            return at
    return len(text)


def _ended(answer: str, until: Sequence[str]) -> str:
    """`answer` up to the first of the texts at which it is to end."""
    return answer[: min((at for text in until if (at := answer.find(text)) >= 0), default=len(answer))]
