"""Conducting a suite: several rounds of questions, scored and stopped by the supervisor.

The child is never told how many rounds are still to come. What a model answered before under the same conditions is not
asked again, and is scored anew.
"""

from collections.abc import Callable, Iterator, Sequence

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Measure, Suite, content_of
from peft_assay.observe.behaviour.answers import Answer, Given, SuiteRecord
from peft_assay.observe.behaviour.asking import Asking, draft_of
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.scorers.catalogue import cannot_pass, text_scorer
from peft_assay.observe.behaviour.scorers.numbers import choice_passes, label_passes, perplexity_passes

ROUND = 40
"""Cases per question; between two rounds the supervisor may stop."""

ORDER = "peft-assay/order/v2"

PUBLIC = "public"
"""The confidentiality of suites whose answers may be kept as they are."""


def order_of(suite: Suite) -> tuple[Case, ...]:
    """The cases in an order that derives from what each asks: independent of the adapter, the same in every run.

    A stopping rule needs an order that carries no trend; and what takes the first cases, as the scan does, needs one
    that cannot be searched for lucky first cases by changing a comment, an id or another case.
    """
    return tuple(sorted(suite.cases, key=lambda case: (content_of(case, ORDER), case.id)))


def conduct_suite(
    ask: Ask, suite: Suite, base: SuiteRecord | None = None, memory: Memory | None = None, *, close: float = 0.0
) -> SuiteRecord:
    """Asks every case of `suite`, round by round, until its stopping rule says enough.

    `base` is what the base alone answered; None while the base itself is asked. Answers closer to call than `close`
    (nats) are asked again precisely where they count for the adapter, so that noise cannot help it; also those that
    were kept from a time when they counted against it. Raises ChildGone
    (from `ask`) when the child can no longer answer, or answers out of shape.
    """
    answers: list[Answer] = []
    failures = 0
    cases = order_of(suite)
    drafts = {} if base is None else base.by_case()
    passes = scorer_of(suite)
    remembered = memory or Memory()
    of_base = base is None
    asking = Asking(ask, suite, drafts, close, _favourable(suite, passes, of_base=of_base), of_base)
    for group in _rounds(cases):
        given = _given(asking, group, remembered)
        try:
            answers.extend(_scored(passes, case, one) for case, one in zip(group, given, strict=True))
        except JudgeFailed as failure:
            return SuiteRecord(suite.id, tuple(answers), complete=False, unjudged=str(failure))
        failures = sum(not answer.passed for answer in answers)
        if suite.stop_after_failures is not None and failures >= suite.stop_after_failures:
            break
    return SuiteRecord(suite.id, tuple(answers), len(answers) == len(cases))


def _favourable(suite: Suite, passes: Callable[[Case, Given], bool], *, of_base: bool) -> Callable[[Case, Given], bool]:
    """What counts for the adapter: its own passes, the base's failures; anything where a judge would have to say.

    A failure of the base's that follows from how its answer certainly begins is none that could count otherwise.
    """
    if suite.judged:
        return lambda _case, _given: True
    if of_base:
        return lambda case, given: not (passes(case, given) or cannot_pass(suite, case, given.certain))
    return passes


def _scored(passes: Callable[[Case, Given], bool], case: Case, given: Given) -> Answer:
    passed = passes(case, given)
    return Answer(**{name: getattr(given, name) for name in Given.__slots__}, case=case.id, passed=passed)


def key_of(suite: Suite, case: Case, draft: Answer | None) -> Digest:
    """By what a model's answer to a case is found again: all of the question, and nothing of how it is scored."""
    shown = draft_of(draft)
    return canonical_digest(
        {
            "measure": suite.measure.value,
            "prompt": suite.ask_form(case),
            "choices": list(case.choices),
            "continuation": case.expected if suite.measure is Measure.LIKELIHOOD else None,
            "maxNewTokens": suite.max_new_tokens,
            "draft": None if shown is None else canonical_digest(shown),
        }
    )


def _given(asking: Asking, cases: Sequence[Case], memory: Memory) -> list[Given]:
    """For each case what the model gave: before, where that was kept, else now."""
    suite = asking.suite
    keys = [key_of(suite, case, asking.drafts.get(case.id)) for case in cases]
    missing = [case for case, key in zip(cases, keys, strict=True) if key not in memory.kept]
    now = iter(asking(missing) if missing else ())
    found = asking.settled(cases, [memory.kept[key] if key in memory.kept else next(now) for key in keys])
    if suite.confidentiality == PUBLIC:
        memory.fresh.update({key: one for key, one in zip(keys, found, strict=True) if memory.kept.get(key) != one})
    return found


def _rounds(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), ROUND):
        yield cases[start : start + ROUND]


def scorer_of(suite: Suite) -> Callable[[Case, Given], bool]:
    """How answers of `suite` are scored; the result raises JudgeFailed where the suite has a judge that fails."""
    scorer = suite.scorer
    match suite.measure:
        case Measure.CHOICE:
            return lambda case, given: choice_passes(case, given.scores)
        case Measure.LIKELIHOOD:
            return lambda _case, given: perplexity_passes(scorer, *given.scores)
        case Measure.CLASSIFY:
            return lambda case, given: label_passes(case, given.scores, scorer.labels)
    passes = text_scorer(suite)
    return lambda case, given: passes(case, given.text)
