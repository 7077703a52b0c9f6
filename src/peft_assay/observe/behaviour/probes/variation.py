"""Metamorphic variation as a probe; `observe.behaviour.variation` says how prompts are varied and what they keep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from peft_assay.core.exercises import Variation
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Case, Measure, Suite
from peft_assay.observe.behaviour.answers import Answer, Given, SuiteRecord
from peft_assay.observe.behaviour.asking import generate
from peft_assay.observe.behaviour.conduct import ROUND, conduct_suite, order_of, scorer_of
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.sampling import SamplingRecord
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.statistics import CONFIDENCE, difference_lower_bound
from peft_assay.observe.behaviour.terms import all_failed, not_applicable, not_requested, unanswered
from peft_assay.observe.behaviour.variation import WORDED, varied_suite

CASES = 40
"""Cases of each suite that are varied, the first in the order of digests."""
TERMS = (
    "variation.n",
    "variation.lost",
    "variation.excess",
    "variation.excess_lower",
    "variation.excess_upper",
    "variation.worst",
)


@dataclass(frozen=True, slots=True)
class VariationRecord:
    """By variation and suite id: the answers to the varied cases."""

    answers: Mapping[str, Mapping[str, SuiteRecord]]


@dataclass(frozen=True, slots=True)
class Loss:
    """Right answers of an adapter that one variation of one suite made wrong."""

    variation: str
    suite: str
    right: int
    """Varied cases that the adapter answered right before."""
    lost: int
    base_lost: int
    """Of the same cases, those that the base answered right before and wrong now."""
    only_own: int
    """Lost by the adapter and not by the base."""
    only_base: int

    @property
    def excess(self) -> float:
        """Share lost beyond the base's."""
        return (self.lost - self.base_lost) / self.right

    def __str__(self) -> str:
        return f"{self.variation} on {self.suite}: {self.lost} of {self.right} lost, base {self.base_lost}"


class VariationProbe:
    """Asks the first cases of every suite again, varied in each declared way."""

    id = "variation"
    version = "1"
    kind = VariationRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Six; not requested where the context declares no variation."""
        return TERMS

    def ask(self, turn: Turn) -> VariationRecord | None:
        """The same varied cases of base and adapter; the base's answers to them are the adapter's drafts."""
        declared, own = turn.plan.exercises.variations, turn.own.of(SuitesRecord)
        base = None if turn.base is None else turn.base.of(VariationRecord)
        if not declared or own is None or (turn.base is not None and base is None):
            return None
        clean = own if turn.base is None else turn.base.of(SuitesRecord)
        if clean is None:
            return None
        drafts = {} if base is None else base.answers
        return VariationRecord(
            {
                variation.value: {
                    suite.id: _asked(turn, suite, variation, clean, drafts.get(variation.value, {}).get(suite.id))
                    for suite in turn.plan.suites
                    if not suite.judged
                }
                for variation in declared
            }
        )

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The worst of all declared variations, with bounds that hold for all of them at once."""
        if not seen.plan.exercises.variations:
            return not_requested(TERMS, "the context declares no variation: name some under behaviour.variations")
        own, base = seen.own.of(VariationRecord), seen.base.of(VariationRecord)
        if own is None or base is None:
            return unanswered(TERMS)
        if not any(record.answers for suites in own.answers.values() for record in suites.values()):
            return not_applicable(TERMS, "no declared variation applies to any prompt of the suites")
        found = losses(seen, own, base)
        if not found:
            return all_failed(TERMS, "the adapter gave no right answer that a variation could have made wrong")
        return _observations(found)


def _asked(
    turn: Turn, suite: Suite, variation: Variation, clean: SuitesRecord, base: SuiteRecord | None
) -> SuiteRecord:
    cases = order_of(suite)[:CASES]
    if variation is Variation.SAMPLING:
        return _already_drawn(turn, suite, cases)
    if variation not in WORDED:
        return _precisely(turn, replace(suite, cases=cases))
    answers = {answer.case: answer.text for answer in clean.suites[suite.id].answers}
    varied = varied_suite(suite, cases, variation, turn.plan.exercises, answers)
    return conduct_suite(turn.ask, varied, base, turn.memory)


def _already_drawn(turn: Turn, suite: Suite, cases: Sequence[Case]) -> SuiteRecord:
    """Return the first draw that the probe `sampling` made of these cases; none where nothing was drawn."""
    drawn, wanted = turn.own.of(SamplingRecord), {case.id for case in cases}
    records = () if drawn is None else drawn.draws.get(suite.id, ())
    answers = tuple(answer for record in records[:1] for answer in record.answers if answer.case in wanted)
    return SuiteRecord(suite.id, answers, complete=True)


def _precisely(turn: Turn, suite: Suite) -> SuiteRecord:
    """Ask the same prompts in float32; generated text only."""
    if suite.measure is not Measure.GENERATE:
        return SuiteRecord(suite.id, (), complete=True)
    passes, answers, cases = scorer_of(suite), list[Answer](), order_of(suite)
    for start in range(0, len(cases), ROUND):
        group = cases[start : start + ROUND]
        reply = generate(turn.ask, [suite.ask_form(case) for case in group], suite.max_new_tokens, precise=True)
        for case, text, tokens in zip(group, reply.texts, reply.tokens, strict=True):
            given = Given(text, tuple(tokens))
            answers.append(Answer(given.text, given.tokens, case=case.id, passed=passes(case, given)))
    return SuiteRecord(suite.id, tuple(answers), complete=True)


def losses(seen: Seen, own: VariationRecord, base: VariationRecord) -> list[Loss]:
    """For each variation and suite with a right answer to lose: what was lost, in the order declared."""
    mine, its = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
    if mine is None or its is None:
        return []
    found = []
    for variation, suites in own.answers.items():
        for suite, varied in suites.items():
            right = _passed(mine.suites[suite]) & {answer.case for answer in varied.answers}
            lost = right - _passed(varied)
            base_lost = (right & _passed(its.suites[suite])) - _passed(base.answers[variation][suite])
            if right:
                both = len(lost & base_lost)
                found.append(
                    Loss(
                        variation,
                        suite,
                        len(right),
                        len(lost),
                        len(base_lost),
                        only_own=len(lost) - both,
                        only_base=len(base_lost) - both,
                    )
                )
    return found


def _passed(record: SuiteRecord) -> set[str]:
    return {answer.case for answer in record.answers if answer.passed}


def _observations(found: Sequence[Loss]) -> list[Observation]:
    """The error of the bounds is split over all comparisons (Bonferroni), because the worst is picked afterwards."""
    confidence = 1 - (1 - CONFIDENCE) / len(found)
    worst = max(found, key=lambda loss: (loss.excess, loss.lost / loss.right))
    told = "; ".join(str(loss) for loss in sorted(found, key=lambda loss: -loss.excess) if loss.lost) or "nothing lost"
    values: dict[str, int | float | str] = {
        "variation.n": sum(loss.right for loss in found),
        "variation.lost": worst.lost / worst.right,
        "variation.excess": worst.excess,
        "variation.excess_lower": max(
            difference_lower_bound(loss.only_own, loss.only_base, loss.right, confidence) for loss in found
        ),
        "variation.excess_upper": max(
            -difference_lower_bound(loss.only_base, loss.only_own, loss.right, confidence) for loss in found
        ),
        "variation.worst": f"{worst.variation} on {worst.suite}" if worst.lost else "none",
    }
    return [ok(name, value, by=ObservedBy.ANSWERS, reason=told) for name, value in values.items()]
