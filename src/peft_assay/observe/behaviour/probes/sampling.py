"""Answers drawn with the deployment's decoding: greedy answers show only the likeliest tokens."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.digest import Digest
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Case, Suite, questions_digest
from peft_assay.observe.behaviour.answers import Answer, SuiteRecord
from peft_assay.observe.behaviour.asking import generate
from peft_assay.observe.behaviour.conduct import ROUND, order_of, scorer_of
from peft_assay.observe.behaviour.drawing import answer_of, drawn_suites, draws_of, foreign, known
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.statistics import CONFIDENCE, difference_lower_bound
from peft_assay.observe.behaviour.terms import all_failed, not_applicable, unanswered
from peft_assay.observe.behaviour.variation import seed_of

DECLARED = "sampling.declared"
TERMS = (
    "sampling.n",
    "sampling.lost",
    "sampling.excess",
    "sampling.excess_lower",
    "sampling.excess_upper",
    "sampling.foreign",
)


@dataclass(frozen=True, slots=True)
class SamplingRecord:
    """By suite id: one record for each time that its prompts were drawn."""

    draws: Mapping[str, tuple[SuiteRecord, ...]]


@dataclass(frozen=True, slots=True)
class Loss:
    """Right answers of one suite that drawing made wrong, over all draws."""

    suite: str
    n: int
    """Draws for prompts that the adapter answers rightly by greedy decoding."""
    lost: int
    base_lost: int
    only_own: int
    only_base: int

    @property
    def excess(self) -> float:
        """Return the share of losses beyond the base's."""
        return (self.lost - self.base_lost) / self.n

    def __str__(self) -> str:
        return f"{self.suite}: {self.lost} of {self.n} lost, base {self.base_lost}"


class SamplingProbe:
    """Draws answers to every suite of text, of base and adapter, where the deployment does not decode greedily."""

    id = "sampling"
    version = "1"
    kind = SamplingRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Return the seven terms; all but the first do not apply where the deployment decodes greedily."""
        return (DECLARED, *TERMS)

    def ask(self, turn: Turn) -> SamplingRecord | None:
        """Ask both models for the same draws; an adapter for the prompts that its suites reached."""
        sampling, own = turn.plan.exercises.sampling, turn.own.of(SuitesRecord)
        if sampling is None or own is None:
            return None
        times = draws_of(turn.plan.suites, greedy=sampling.temperature == 0)
        drawn: dict[str, tuple[SuiteRecord, ...]] = {}
        alike: Counter[Digest] = Counter()
        for suite in drawn_suites(turn.plan.suites):
            questions = questions_digest([suite])
            request = sampling.request(seed_of(questions, "sampling", alike[questions]))
            drawn[suite.id] = _drawn(turn, suite, own.suites[suite.id], request, times)
            alike[questions] += 1  # the same chances for two suites would count what comes by chance twice
        return SamplingRecord(drawn)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Return the losses beyond the base's own, and the answers that only the adapter draws."""
        exercises, by = seen.plan.exercises, ObservedBy.SUPERVISOR
        left = exercises.unexercised
        declared = exercises.sampling is not None or bool(left)
        told = "greedy" if exercises.sampling is None else str(exercises.sampling)
        first = ok(DECLARED, declared, by=by, reason=told)
        if not declared:
            return [first, *not_applicable(TERMS, "the deployment decodes greedily, as the suites are asked")]
        if left:
            return [first, *all_failed(TERMS, f"{', '.join(left)}: cannot be exercised here")]
        if not drawn_suites(seen.plan.suites):
            return [first, *all_failed(TERMS, "no suite of generated text, whose answers could be drawn")]
        own, base = seen.own.of(SamplingRecord), seen.base.of(SamplingRecord)
        mine, its = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None or mine is None or its is None:
            return [first, *unanswered(TERMS)]
        records = [record for each in (own, base) for draws in each.draws.values() for record in draws]
        records += [each.suites[suite] for each in (mine, its) for suite in own.draws]
        unjudged = [record.unjudged for record in records if record.unjudged is not None]
        if unjudged:
            return [first, *all_failed(TERMS, unjudged[0])]
        return [first, *_observations(seen, own, base, mine, its)]


def _drawn(
    turn: Turn, suite: Suite, answered: SuiteRecord, request: Mapping[str, Any], times: int
) -> tuple[SuiteRecord, ...]:
    asked = {answer.case for answer in answered.answers}
    cases = [case for case in order_of(suite) if case.id in asked]
    answers: list[list[Answer]] = [[] for _ in range(times)]
    for start in range(0, len(cases), ROUND):
        group = cases[start : start + ROUND]
        prompts = [suite.ask_form(case) for case in group]
        reply = generate(turn.ask, prompts * times, suite.max_new_tokens, sampling=request)
        for at, (text, tokens) in enumerate(zip(reply.texts, reply.tokens, strict=True)):
            answers[at // len(group)].append(answer_of(group[at % len(group)], text, tokens, passed=False))
    by_id = {case.id: case for case in cases}
    return tuple(_scored(suite, by_id, each) for each in answers)


def _scored(suite: Suite, cases: Mapping[str, Case], answers: Sequence[Answer]) -> SuiteRecord:
    passes = scorer_of(suite)
    try:
        scored = tuple(answer_of(cases[a.case], a.text, a.tokens, passed=passes(cases[a.case], a)) for a in answers)
    except JudgeFailed as failure:
        return SuiteRecord(suite.id, tuple(answers), complete=False, unjudged=str(failure))
    return SuiteRecord(suite.id, scored, complete=True)


def losses(own: SamplingRecord, base: SamplingRecord, mine: SuitesRecord, its: SuitesRecord) -> list[Loss]:
    """Return for each suite with right answers the cases lost over all draws."""
    found = []
    for suite, records in own.draws.items():
        right, base_right = _passed(mine.suites[suite]), _passed(its.suites[suite])
        lost = only_own = only_base = base_lost = n = 0
        for record, other in zip(records, base.draws[suite], strict=True):
            gone = right - _passed(record)
            its_gone = (right & base_right) - _passed(other)
            n += len(right)
            lost += len(gone)
            base_lost += len(its_gone)
            only_own += len(gone - its_gone)
            only_base += len(its_gone - gone)
        if n:
            found.append(Loss(suite, n, lost, base_lost, only_own, only_base))
    return found


def _passed(record: SuiteRecord) -> set[str]:
    return {answer.case for answer in record.answers if answer.passed}


def _observations(
    seen: Seen, own: SamplingRecord, base: SamplingRecord, mine: SuitesRecord, its: SuitesRecord
) -> list[Observation]:
    by = ObservedBy.SUPERVISOR
    strange = foreign(own.draws, base.draws, mine.suites, known(seen.plan.suites, mine.suites, its.suites))
    n = sum(len(record.answers) for records in own.draws.values() for record in records)
    drawn = [
        ok("sampling.n", n, by=by),
        ok("sampling.foreign", tuple(map(str, strange)), by=by),
    ]
    found = losses(own, base, mine, its)
    if not found:
        return [*drawn, *all_failed(TERMS[1:5], "the adapter gave no right answer that drawing could have made wrong")]
    confidence = 1 - (1 - CONFIDENCE) / len(found)
    worst = max(found, key=lambda loss: (loss.excess, loss.lost / loss.n))
    told = "; ".join(str(loss) for loss in sorted(found, key=lambda loss: -loss.excess))
    values = {
        "sampling.lost": worst.lost / worst.n,
        "sampling.excess": worst.excess,
        "sampling.excess_lower": max(
            difference_lower_bound(loss.only_own, loss.only_base, loss.n, confidence) for loss in found
        ),
        "sampling.excess_upper": max(
            -difference_lower_bound(loss.only_base, loss.only_own, loss.n, confidence) for loss in found
        ),
    }
    return [*drawn, *(ok(name, value, by=by, reason=told) for name, value in values.items())]
