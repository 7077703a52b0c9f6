"""What is certainly wrong with a suite: it cannot fail, nothing can pass it, or its cases contradict its scorer."""

from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import Case, Measure, ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.behaviour.scorers.json_answer import NotJson
from peft_assay.observe.behaviour.scorers.tool_call import calls_of
from peft_assay.observe.suites.controls import ARBITRARY, JSON_VALUES, MUST_SPEAK, constant

_NEXT = "correct it there, then: peft-assay suite lint SUITE"
_SAMPLE = 200
"""Controls look at this many cases: one that fails is enough."""


def refuse_certain(suite: Suite, *, where: str, cases_where: str) -> None:
    """Raises DocumentError where a suite cannot fail, no answer can pass it, or a case contradicts its scorer."""
    if suite.measure is Measure.GENERATE and suite.scorer.kind is not ScorerKind.JUDGE:
        _refuse_contradictions(suite, where, cases_where)
        _refuse_scorer(suite, f"{where}: scorer")
    if len(suite.cases) > 1:
        same = constant(suite)
        if same is not None and same.passes == same.n:
            raise DocumentError(
                f"one constant answer passes every one of {same.n} cases: it is no test of a model",
                where=cases_where,
                next_step=_NEXT,
            )


def _refuse_contradictions(suite: Suite, where: str, cases_where: str) -> None:
    passes = text_scorer(suite, where=where)
    for number, case in enumerate(suite.cases, start=1):
        if suite.scorer.kind is ScorerKind.TOOL_CALL:
            _check_call(case, f"{cases_where}: case {number}: expected")
        if case.expected is not None and not passes(case, case.expected):
            raise DocumentError(
                f"the expected answer fails the suite's own scorer {suite.scorer.kind}",
                where=f"{cases_where}: case {number}: expected",
                next_step=_NEXT,
            )


def _check_call(case: Case, where: str) -> None:
    try:
        calls_of(case.expected or "")
    except NotJson as error:
        raise DocumentError(str(error), where=where) from None


def _refuse_scorer(suite: Suite, where: str) -> None:
    passes = text_scorer(suite)
    sample = suite.cases[:_SAMPLE]
    if suite.scorer.kind in MUST_SPEAK:
        if all(passes(case, "") for case in sample):
            raise DocumentError(
                "the empty answer passes every case: the suite cannot fail", where=where, next_step=_NEXT
            )
        texts = JSON_VALUES if suite.scorer.kind is ScorerKind.JSON_SCHEMA else ARBITRARY
        asks_nothing = all(passes(case, text) for case in sample for text in texts)
        if asks_nothing and suite.scorer.kind is not ScorerKind.COMPLIANCE:
            raise DocumentError(
                "every text that was tried passes every case: the suite cannot fail", where=where, next_step=_NEXT
            )
    refusing = suite.scorer.kind in {ScorerKind.FORBIDDEN, ScorerKind.COMPLIANCE}
    if refusing and not any(passes(case, text) for case in sample for text in ARBITRARY):
        raise DocumentError(
            "no text that was tried passes any case: a pattern matches everything", where=where, next_step=_NEXT
        )
