"""How far the adapter's distribution is from its base's, suite by suite and where it is not supposed to be at all."""

from collections.abc import Iterable, Iterator, Mapping

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Measure, Suite
from peft_assay.core.vocabulary import drift_terms
from peft_assay.observe.behaviour.concluding import Concluding
from peft_assay.observe.behaviour.divergence import Incomparable, SuiteDrift, suite_drift
from peft_assay.observe.behaviour.interface import Plan, Seen
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.terms import all_failed, not_applicable, not_requested, unanswered

OFF_TASK = ("drift.off_task_kl", "drift.off_task_agreement")
UNDECLARED = "behaviour.offTask in peft-assay.yaml names no suite"

Drifts = Mapping[str, SuiteDrift | Incomparable]


class DriftProbe(Concluding):
    """Asks nothing: the suites were answered along the base's own answers."""

    id = "drift"
    version = "2"

    def terms(self, plan: Plan) -> tuple[str, ...]:
        """Seven of every suite, and two of the off-task suites together."""
        return (*(term.name for suite in plan.suites for term in drift_terms(suite.id)), *OFF_TASK)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Per token, over all cases that were asked."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(self.terms(seen.plan))
        drifts = drifts_of(seen.plan.suites, own, base)
        observations = [o for suite in seen.plan.suites for o in _of_suite(suite, drifts.get(suite.id))]
        return [*observations, *_off_task(seen.plan, drifts)]


def drifts_of(suites: Iterable[Suite], own: SuitesRecord, base: SuitesRecord) -> Drifts:
    """By suite id, for suites of generated text: the drift, or why there is none."""
    return {s.id: _drift(own, base, s.id) for s in suites if s.measure is Measure.GENERATE}


def _drift(own: SuitesRecord, base: SuitesRecord, suite: str) -> SuiteDrift | Incomparable:
    try:
        return suite_drift(own.suites[suite], base.suites[suite])
    except Incomparable as reason:
        return reason


def _of_suite(suite: Suite, drift: SuiteDrift | Incomparable | None) -> Iterator[Observation]:
    names = [term.name for term in drift_terms(suite.id)]
    if drift is None:
        yield from not_applicable(names, "only generated text is compared token by token")
    elif isinstance(drift, Incomparable):
        yield from all_failed(names, str(drift))
    else:
        over = f"over {drift.tokens} tokens of the base's answers to {len(drift.cases)} cases"
        for name in names:
            yield ok(name, getattr(drift, name.rsplit(".", 1)[1]), by=ObservedBy.NUMBERS, reason=over)


def _off_task(plan: Plan, drifts: Drifts) -> Iterable[Observation]:
    """The worst of the declared suites: one that is left alone makes up for no other."""
    if not plan.exercises.off_task:
        return not_requested(OFF_TASK, UNDECLARED)
    try:
        chosen = off_task(plan, drifts)
    except Incomparable as reason:
        return all_failed(OFF_TASK, str(reason))
    far, apart = max(chosen, key=lambda s: chosen[s].kl_mean), min(chosen, key=lambda s: chosen[s].agreement)
    return [
        ok(OFF_TASK[0], chosen[far].kl_mean, by=ObservedBy.NUMBERS, reason=f"suite {far}"),
        ok(OFF_TASK[1], chosen[apart].agreement, by=ObservedBy.NUMBERS, reason=f"suite {apart}"),
    ]


def off_task(plan: Plan, drifts: Drifts) -> dict[str, SuiteDrift]:
    """The drift on each declared off-task suite; raises Incomparable when none is declared, or one has no drift."""
    chosen: dict[str, SuiteDrift] = {}
    for name in plan.exercises.off_task:
        drift = drifts.get(name)
        if not isinstance(drift, SuiteDrift):
            raise Incomparable(f"suite {name}: {drift or 'not a suite of generated text'}")
        chosen[name] = drift
    if not chosen:
        raise Incomparable(UNDECLARED)
    return chosen
