"""Scale sensitivity: are the answers still right when the adapter acts a little weaker or stronger than it was made?

Serving engines, merges and user interfaces multiply an adapter's strength; what was certified at 1 was seen at 1 only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Suite
from peft_assay.core.wire import ScaleReply
from peft_assay.observe.behaviour.conduct import conduct_suite, order_of
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.replies import expect
from peft_assay.observe.behaviour.statistics import CONFIDENCE, upper_bound
from peft_assay.observe.behaviour.terms import all_failed, not_applicable, not_requested, unanswered

CASES = 40
"""Cases of each suite that are asked again, the first in the order of digests."""
MODERATE = (1.0, 1.5)
"""Factors between these are what a deployment may come to by a setting; what breaks there counts."""
BREAKS = 0.1
"""A factor breaks a suite when more than this share of its right answers is lost."""
TERMS = ("scale.modules", "scale.lost", "scale.lost_upper", "scale.breaks")


@dataclass(frozen=True, slots=True)
class ScaleRecord:
    """What an adapter answered at other strengths."""

    modules: int
    """How many modules could be scaled."""
    passed: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By factor and suite: ids of the cases that passed."""


@dataclass(frozen=True, slots=True)
class _Loss:
    factor: float
    suite: str
    right: int
    lost: int

    def __str__(self) -> str:
        return f"{self.factor:g}x on {self.suite}: {self.lost} of {self.right} right answers lost"


class ScaleProbe:
    """Asks the first cases of every suite again at each declared factor; it asks last, for it changes the adapter."""

    id = "scale"
    version = "1"
    kind = ScaleRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Four; not requested where the context declares no factor."""
        return TERMS

    def ask(self, turn: Turn) -> ScaleRecord | None:
        """Asks the adapter only: a base has no strength. The adapter is left at its own strength."""
        factors = turn.plan.exercises.scales
        if turn.base is None or not factors:
            return None
        passed, modules = {}, 0
        for factor in factors:
            modules = _scale(turn, factor)
            if modules == 0:
                return ScaleRecord(0)
            passed[f"{factor:g}"] = {suite.id: _passed(turn, suite) for suite in turn.plan.suites if not suite.judged}
        _scale(turn, 1.0)
        return ScaleRecord(modules, passed)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """What is lost between 1 and 1.5 times the strength, and every factor that breaks a suite."""
        factors, record = seen.plan.exercises.scales, seen.own.of(ScaleRecord)
        if not factors:
            return not_requested(TERMS, "the context declares no factor: name some under behaviour.scales")
        clean = seen.own.of(SuitesRecord)
        if record is None or clean is None:
            return unanswered(TERMS)
        if record.modules == 0:
            return not_applicable(TERMS, "an adapter of this type has no strength that could be scaled")
        return _observations(record, _losses(factors, record, clean))


def _scale(turn: Turn, factor: float) -> int:
    return expect(ScaleReply, turn.ask({"op": "scale", "factor": factor})).modules


def _passed(turn: Turn, suite: Suite) -> tuple[str, ...]:
    """Never from answers kept before, and never to be kept: they are of another strength."""
    base = None if turn.base is None else turn.base.of(SuitesRecord)
    first = replace(suite, cases=order_of(suite)[:CASES], stop_after_failures=None)
    record = conduct_suite(turn.ask, first, None if base is None else base.suites[suite.id])
    return tuple(answer.case for answer in record.answers if answer.passed)


def _losses(factors: Iterable[float], record: ScaleRecord, clean: SuitesRecord) -> list[_Loss]:
    found = []
    for factor in factors:
        for suite, passed in record.passed[f"{factor:g}"].items():
            right = {answer.case for answer in clean.suites[suite].answers[:CASES] if answer.passed}
            if right:
                found.append(_Loss(factor, suite, len(right), len(right - set(passed))))
    return found


def _observations(record: ScaleRecord, found: Sequence[_Loss]) -> list[Observation]:
    by = ObservedBy.ANSWERS
    if not found:
        return all_failed(TERMS, "the adapter gave no right answer that another strength could have made wrong")
    breaks = tuple(str(loss) for loss in found if loss.lost > BREAKS * loss.right)
    told = "; ".join(map(str, found))
    near = [loss for loss in found if MODERATE[0] <= loss.factor <= MODERATE[1]]
    seen = [
        ok("scale.modules", record.modules, by=ObservedBy.SUPERVISOR),
        ok("scale.breaks", breaks, by=by, reason=told),
    ]
    if not near:
        return [*seen, *not_applicable(TERMS[1:3], "no declared factor lies between 1 and 1.5")]
    confidence = 1 - (1 - CONFIDENCE) / len(near)
    lost = max(loss.lost / loss.right for loss in near)
    upper = max(upper_bound(loss.lost, loss.right, confidence) for loss in near)
    return [*seen, ok("scale.lost", lost, by=by, reason=told), ok("scale.lost_upper", upper, by=by)]
