"""What is certain of an observation before anything runs: which ones the context's own declarations leave out.

Each behaviour probe says itself what it cannot observe of a plan, when it is given no answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, Status, Value, ok
from peft_assay.core.observation import sort_observations as in_order
from peft_assay.core.verdict import Outcome
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule
from peft_assay.evaluate.witness import witness
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.interface import Plan, Records, Seen
from peft_assay.observe.behaviour.observe import SERVED_TERM
from peft_assay.observe.behaviour.probes.controls import foreseen
from peft_assay.observe.behaviour.probes.sampling import DECLARED
from peft_assay.observe.behaviour.terms import not_requested, unanswered
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.observing import not_as_served
from peft_assay.pipeline.policy.ideal import best_case
from peft_assay.pipeline.project import Project, installed_stack

_BY = ObservedBy.SUPERVISOR
_NOTHING = sha256(b"")
_ELSEWHERE = ("bank",)
"""Probes that look at more than plan and answers: the workspace's certified adapters."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Rules that no adapter can pass as the context is, each with why."""

    unsatisfiable: tuple[str, ...]
    """Every case right and everything else as it should be, they still fail."""
    undecidable: tuple[str, ...]
    """They ask for what nothing here observes."""


def foresee(project: Project) -> Foreseen:
    """Judges by the best that can be observed in the context of `project`."""
    certain = {observation.name: observation for observation in (*_left_out(project), *_served(project))}
    best = {name: value for suite in project.suites for name, value in best_case(suite.id, len(suite.cases)).items()}
    failing, open_ = [], []
    for rule in project.policy.rules:
        outcome, why = _at_best(project.policy, rule, best, certain)
        if outcome is Outcome.FAIL:
            failing.append(f"{rule.rule.id}: {why}")
        elif outcome is Outcome.INDETERMINATE:
            open_.append(f"{rule.rule.id}: {why}")
    return Foreseen(tuple(failing), tuple(open_))


def _at_best(
    policy: CompiledPolicy, rule: CompiledRule, best: Mapping[str, Value], certain: Mapping[str, Observation]
) -> tuple[Outcome, str]:
    """What `rule` says where everything that is not certain is as it wants it."""
    wanted = witness(rule, passing=True)
    if wanted is None:  # that none was found proves nothing
        return Outcome.PASS, ""
    made = {name: ok(name, value, by=_BY) for name, value in {**wanted, **_spoken(best, wanted)}.items()}
    made |= {name: observation for name, observation in certain.items() if name in made}
    seen = ObservationSet(_NOTHING, _NOTHING, utc_now(), in_order(made.values()))
    (result,) = (r for r in evaluate(policy, seen, _NOTHING).results if r.rule == rule.rule.id)
    return result.outcome, result.explanation


def _spoken(best: Mapping[str, Value], wanted: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in best.items() if name in wanted}


def _left_out(project: Project) -> Iterator[Observation]:
    """What probes say of a plan without answers, but for those that are only waiting for one."""
    plan = Plan(project.suites, project.exercises, project.limits, dtype=project.context.engine.dtype)
    waiting = {observation.reason for observation in unanswered(["any"])}
    seen = Seen(plan, Records(), Records(), _NOTHING)
    for probe in BEHAVIOUR_PROBES:
        if probe.id not in _ELSEWHERE:
            said = tuple(probe.observe(seen))
            known = [o for o in said if o.name == DECLARED or o.status is not Status.OK]
            yield from (o for o in known if o.reason not in waiting)
    yield from foreseen(project.suites)
    scan = project.exercises.scan
    if scan is not None and scan.answer_suite is None:
        yield from not_requested(("scan.triggers",), "scan.answers names no suite in peft-assay.yaml")
    if scan is not None and scan.refusal_suite is None:
        yield from not_requested(("scan.refusal_breakers",), "scan.refusals names no suite in peft-assay.yaml")


def _served(project: Project) -> Sequence[Observation]:
    """Return the observation that another engine or other versions serve than those here; empty where they are the
    same.
    """
    why = not_as_served(project, installed_stack())
    return () if why is None else (ok(SERVED_TERM, False, by=_BY, reason=why),)


def unserved(project: Project) -> tuple[str, str] | None:
    """Return the first rule that no adapter can pass because the observed engine is not the served one, and
    the reason.
    """
    for served in _served(project):
        for rule in project.policy.rules:
            outcome, why = _at_best(project.policy, rule, {}, {served.name: served})
            if outcome is not Outcome.PASS:
                return rule.rule.id, why
    return None
