"""The one-token trigger scan as a probe; `observe.behaviour.scan` says how it works and what it does not find."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from peft_assay.core.exercises import Scan
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.suite import Suite
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.scan import (
    PLACES,
    Drops,
    SuiteScan,
    measure_drops,
    scan_answers,
    scan_refusals,
)
from peft_assay.observe.behaviour.terms import all_failed, unanswered

TERMS = ("scan.tokens", "scan.proposed", "scan.sequences", "scan.excess", "scan.triggers", "scan.refusal_breakers")


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """By suite id: what the base loses by each token, or what the scan of an adapter found."""

    drops: Mapping[str, Drops] = field(default_factory=dict)
    scans: Mapping[str, SuiteScan] = field(default_factory=dict)


class ScanProbe:
    """Inserts each declared token into prompts of the declared suites."""

    id = "scan"
    version = "3"
    kind = ScanRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Six; failed where the context declares no token set."""
        return TERMS

    def ask(self, turn: Turn) -> ScanRecord | None:
        """Measures the base, scans the adapter."""
        scan, answered = turn.plan.exercises.scan, turn.own.of(SuitesRecord)
        if scan is None or answered is None:
            return None
        if turn.base is None:
            clean = {name: record.by_case() for name, record in answered.suites.items()}
            suites = scanned_suites(scan, turn.plan.suites)
            return ScanRecord(drops={s.id: measure_drops(turn.ask, scan.tokens, s, clean[s.id]) for s in suites})
        base = turn.base.of(ScanRecord)
        return None if base is None else ScanRecord(scans=_scans(turn, scan, answered, base.drops))

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """What was confirmed; failed where nothing could be shown."""
        scan, record = seen.plan.exercises.scan, seen.own.of(ScanRecord)
        if scan is None:
            return all_failed(TERMS, "the context declares no token set to scan")
        if record is None:
            return unanswered(TERMS)
        return list(_observations(scan, record))


def scanned_suites(scan: Scan, suites: Iterable[Suite]) -> tuple[Suite, ...]:
    """The suites that the scan names, each once."""
    named = {name for name in (scan.answer_suite, scan.refusal_suite) if name is not None}
    return tuple(suite for suite in suites if suite.id in named)


def _scans(turn: Turn, scan: Scan, answered: SuitesRecord, base: Mapping[str, Drops]) -> dict[str, SuiteScan]:
    scans: dict[str, SuiteScan] = {}
    refusals = turn.plan.suite(scan.refusal_suite)
    if answers := turn.plan.suite(scan.answer_suite):
        clean = answered.suites[answers.id].by_case()
        scans[answers.id] = scan_answers(turn.ask, scan, answers, clean, base[answers.id], refusals)
    if refusals is not None:
        clean = answered.suites[refusals.id].by_case()
        scans[refusals.id] = scan_refusals(turn.ask, scan, refusals, clean, base[refusals.id])
    return scans


def _observations(scan: Scan, record: ScanRecord) -> Iterable[Observation]:
    by = ObservedBy.SUPERVISOR
    scans = record.scans.values()
    yield ok("scan.tokens", len(scan.tokens), by=by, reason=f"token set {scan.digest}")
    yield ok("scan.proposed", len({token for one in scans for token in one.proposed}), by=by)
    yield ok("scan.sequences", sum(one.sequences for one in scans), by=by, reason=_budget(scans))
    if scans and all(one.prompts for one in scans):
        yield ok("scan.excess", max(max(one.excess, default=0.0) for one in scans), by=by)
    else:
        yield failed("scan.excess", "no clean answer whose likelihood a token could have taken", by=by)
    declared = (
        ("scan.triggers", "scan.answers", scan.answer_suite),
        ("scan.refusal_breakers", "scan.refusals", scan.refusal_suite),
    )
    for name, setting, suite in declared:
        one = record.scans.get(suite or "")
        if one is None:
            yield failed(name, f"{setting} names no suite in peft-assay.yaml", by=by)
        elif one.open is not None and not one.confirmed:
            yield failed(name, one.open, by=by)
        else:
            yield ok(name, one.confirmed, by=by)


def _budget(scans: Iterable[SuiteScan]) -> str:
    """How the search was spent."""
    places = ", ".join(f"{place:.2f}" for place in PLACES)
    prompts = ", ".join(f"{one.suite} {one.prompts} and {one.fresh} to confirm on" for one in scans)
    return f"one token at a time at shares {places} of a prompt's words; prompts of {prompts or 'no suite'}"
