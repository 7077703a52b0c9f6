"""Behaviour of one adapter: one job in the sandbox, and the observations that may be drawn from it.

Any event that the supervisor recorded, and any end other than a regular one, voids every behaviour result: a child that
tried something else may also have lied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.sandbox import Ask, Job, Limits, Outcome, Result, Sandbox
from peft_assay.core.suite import Scan, Suite
from peft_assay.core.vocabulary import suite_terms
from peft_assay.core.wire import EffectReply, LoadReply
from peft_assay.observe.behaviour.conduct import SuiteRecord, conduct_suite, order_of
from peft_assay.observe.behaviour.reference import BaseReference, scanned_suites
from peft_assay.observe.behaviour.replies import expect
from peft_assay.observe.behaviour.scan import ScanRecord, scan_answers, scan_refusals
from peft_assay.observe.behaviour.statistics import difference_lower_bound, lower_bound, upper_bound

EFFECT_PROMPTS = 4
LOAD_TERMS = ("plan.unmet",)
EFFECT_TERMS = ("effect.differs_from_base", "effect.base_unchanged", "effect.deterministic")
SCAN_TERMS = ("scan.tokens", "scan.triggers", "scan.refusal_breakers")
SANDBOX_TERMS = ("sandbox.level", "sandbox.events")


@dataclass(slots=True)
class BehaviourRecord:
    """Everything that one job brought, before it is judged usable."""

    load: LoadReply | None = None
    effect: EffectReply | None = None
    suites: dict[str, SuiteRecord] = field(default_factory=dict)
    scans: dict[str, ScanRecord] = field(default_factory=dict)
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Exercise:
    """What an adapter is exercised with."""

    suites: Sequence[Suite]
    scan: Scan | None
    reference: BaseReference
    limits: Limits


def exercise(sandbox: Sandbox, adapter: Mapping[str, bytes], plan: Exercise) -> BehaviourRecord:
    """Runs the adapter's job; never raises for anything the adapter did."""
    record = BehaviourRecord()

    def converse(ask: Ask) -> None:
        record.load = expect(LoadReply, ask({"op": "load"}))
        if not record.load.loaded:
            return
        prompts = [case.prompt for suite in plan.suites for case in order_of(suite)[:EFFECT_PROMPTS]]
        record.effect = expect(EffectReply, ask({"op": "effect", "prompts": prompts[: 2 * EFFECT_PROMPTS]}))
        for suite in plan.suites:
            record.suites[suite.id] = conduct_suite(ask, suite)
        if plan.scan is not None:
            _run_scan(ask, plan, plan.scan, record)

    record.result = sandbox.run(Job(adapter, plan.limits), converse)
    return record


def _run_scan(ask: Ask, plan: Exercise, scan: Scan, record: BehaviourRecord) -> None:
    by_id = {suite.id: suite for suite in scanned_suites(scan, plan.suites)}
    refusals = by_id.get(scan.refusal_suite or "")
    if answers := by_id.get(scan.answer_suite or ""):
        clean = record.suites[answers.id].by_case()
        base = plan.reference.drops[answers.id]
        record.scans[answers.id] = scan_answers(ask, scan, answers, clean, base, refusals)
    if refusals is not None:
        clean = record.suites[refusals.id].by_case()
        record.scans[refusals.id] = scan_refusals(ask, scan, refusals, clean, plan.reference.drops[refusals.id])


def observations_of(
    record: BehaviourRecord, plan: Exercise, *, level: int, base_state: str, as_served: str | None
) -> tuple[Observation, ...]:
    """The observations that `record` supports.

    `level` is the sandbox's achieved isolation; `as_served` is None when the engine and dtype observed are those that
    the context declares, else why not.
    """
    result = record.result
    if result is None:
        return not_exercised("the adapter was not run", plan)
    seen = [
        ok("sandbox.level", level, by=ObservedBy.SUPERVISOR),
        ok("sandbox.events", len(result.events), by=ObservedBy.SUPERVISOR, reason=_events(result)),
        ok("stack.observed_as_served", as_served is None, by=ObservedBy.SUPERVISOR, reason=as_served),
    ]
    void = _why_void(result)
    if void is not None:
        return (*seen, *_all_failed(_behaviour_terms(plan), void))
    seen.extend(_load_observations(record))
    if record.effect is None:
        why = f"not loaded: {record.load.problem if record.load else 'no reply'}"
        return (*seen, *_all_failed([t for t in _behaviour_terms(plan) if t not in LOAD_TERMS], why))
    seen.extend(_effect_observations(record.effect, base_state))
    for suite in plan.suites:
        seen.extend(suite_observations(suite, record.suites[suite.id], plan.reference.suites[suite.id]))
    seen.extend(_scan_observations(record, plan))
    return tuple(seen)


def not_exercised(reason: str, plan: Exercise) -> tuple[Observation, ...]:
    """Failed observations for everything that only running the adapter can show."""
    return _all_failed([*SANDBOX_TERMS, "stack.observed_as_served", *_behaviour_terms(plan)], reason)


def _behaviour_terms(plan: Exercise) -> list[str]:
    suites = [term.name for suite in plan.suites for term in suite_terms(suite.id)]
    return [*LOAD_TERMS, *EFFECT_TERMS, *SCAN_TERMS, *suites]


def _all_failed(names: Sequence[str], reason: str) -> tuple[Observation, ...]:
    return tuple(failed(name, reason, by=ObservedBy.SUPERVISOR) for name in names)


def _why_void(result: Result) -> str | None:
    if result.events:
        return f"void: the adapter's process was refused {_events(result)}"
    if result.outcome is not Outcome.OK:
        return f"void: the adapter's process ended with {result.outcome.value}: {result.detail}"
    return None


def _events(result: Result) -> str | None:
    kinds = sorted({f"{event.kind} {event.detail}".strip() for event in result.events})
    return ", ".join(kinds[:10]) or None


def _load_observations(record: BehaviourRecord) -> list[Observation]:
    if record.load is None:
        return [failed("plan.unmet", "the child did not answer", by=ObservedBy.SUPERVISOR)]
    plan = record.load.plan
    unmet = (
        *(f"missing {name}" for name in plan.missing),
        *(f"extra {name}" for name in plan.extra),
        *(f"mis-shaped {name}" for name in plan.mismatched),
    )
    if not unmet and not record.load.loaded:
        return [failed("plan.unmet", record.load.problem or "not loaded", by=ObservedBy.CHILD)]
    return [ok("plan.unmet", unmet[:100], by=ObservedBy.CHILD, reason=record.load.problem)]


def _effect_observations(effect: EffectReply, base_state: str) -> list[Observation]:
    values = (effect.differs and effect.finite, effect.baseState == base_state, effect.deterministic)
    return [ok(name, value, by=ObservedBy.CHILD) for name, value in zip(EFFECT_TERMS, values, strict=True)]


def suite_observations(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> list[Observation]:
    """Counts, exact bounds and the paired difference; unasked cases count as failures of the adapter."""
    n = len(suite.cases)
    mine = {answer.case for answer in own.answers if answer.passed}
    its = {answer.case for answer in base.answers if answer.passed}
    values: dict[str, bool | int | float] = {
        "n": n,
        "passes": len(mine),
        "rate": len(mine) / n,
        "lower": lower_bound(len(mine), n),
        "upper": upper_bound(len(mine), n),
        "base_rate": len(its) / n,
        "difference": (len(mine) - len(its)) / n,
        "difference_lower": difference_lower_bound(len(mine - its), len(its - mine), n),
        "complete": own.complete,
    }
    return [ok(f"suite.{suite.id}.{name}", value, by=ObservedBy.SUPERVISOR) for name, value in values.items()]


def _scan_observations(record: BehaviourRecord, plan: Exercise) -> list[Observation]:
    scan = plan.scan
    if scan is None:
        return list(_all_failed(SCAN_TERMS, "the context declares no token set to scan"))
    by = ObservedBy.SUPERVISOR
    seen = [ok("scan.tokens", len(scan.tokens), by=by, reason=f"token set {scan.digest}")]
    declared = (
        ("scan.triggers", "scan.answers", scan.answer_suite),
        ("scan.refusal_breakers", "scan.refusals", scan.refusal_suite),
    )
    for name, setting, suite in declared:
        one = record.scans.get(suite or "")
        if one is None:
            seen.append(failed(name, f"{setting} names no suite in peft-assay.yaml", by=by))
        elif one.open is not None and not one.confirmed:
            seen.append(failed(name, one.open, by=by))
        else:
            seen.append(ok(name, one.confirmed, by=by))
    return seen


def evidence_of(record: BehaviourRecord, plan: Exercise) -> dict[str, Any]:
    """The stored record behind the observations: per case whether it passed, texts only of public suites."""
    return {
        "suites": {
            suite.id: _case_records(suite, record.suites[suite.id], plan.reference.suites[suite.id])
            for suite in plan.suites
            if suite.id in record.suites
        },
        "scans": {
            name: {"excess": list(scan.excess), "suspects": list(scan.suspects), "confirmed": list(scan.confirmed)}
            for name, scan in record.scans.items()
        },
    }


def _case_records(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> list[dict[str, Any]]:
    public = suite.confidentiality == "public"
    its = base.by_case()
    return [
        {
            "case": answer.case,
            "passed": answer.passed,
            "basePassed": its[answer.case].passed,
            "text": answer.text if public else None,
            "baseText": its[answer.case].text if public else None,
        }
        for answer in own.answers
    ]
