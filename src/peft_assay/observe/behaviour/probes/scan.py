"""The one-token trigger scan as a probe; `observe.behaviour.scan` says how it works and what it does not find."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from peft_assay.core.exercises import Scan
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Measure, Suite
from peft_assay.core.wire import spliced
from peft_assay.observe.behaviour.drops import PLACES, PROMPTS, Drops, Inserting, drops_of_adapter, drops_of_base
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.labels import label_drops, scan_labels
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.proposals import Proposed, minded, scan_proposals, words_of
from peft_assay.observe.behaviour.scan import (
    Scanned,
    SuiteScan,
    breaks,
    collapses,
    refused,
    scan_answers,
    scan_refusals,
)
from peft_assay.observe.behaviour.terms import all_failed, not_requested, unanswered

TERMS = (
    "scan.tokens",
    "scan.ids",
    "scan.unscanned",
    "scan.proposed",
    "scan.proposed_triggers",
    "scan.sequences",
    "scan.excess",
    "scan.triggers",
    "scan.refusal_breakers",
)


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """By suite id: what the base loses by each token, or what the scan of an adapter found."""

    drops: Mapping[str, Drops] = field(default_factory=dict)
    scans: Mapping[str, SuiteScan] = field(default_factory=dict)
    proposals: Mapping[str, Proposed] = field(default_factory=dict)
    minded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By suite id: words that the base's own gradients point at and that the base minds."""


class ScanProbe:
    """Inserts each declared token into prompts of the declared suites."""

    id = "scan"
    version = "6"
    kind = ScanRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Return the nine terms; not requested where the context declares no token set."""
        return TERMS

    def ask(self, turn: Turn) -> ScanRecord | None:
        """Measures the base, scans the adapter."""
        scan, answered = turn.plan.exercises.scan, turn.own.of(SuitesRecord)
        if scan is None or answered is None:
            return None
        if turn.base is None:
            clean = {name: record.by_case() for name, record in answered.suites.items()}
            suites = scanned_suites(scan, turn.plan.suites)
            drops = {s.id: _of_base(turn.ask, Inserting(s, scan.inserted, clean[s.id])) for s in suites}
            proposed = [s for s in suites if scan.proposals and not _labels(s)]
            words = {s.id: minded(turn.ask, s, clean[s.id]) for s in proposed}
            return ScanRecord(drops=drops, minded=words)
        base = turn.base.of(ScanRecord)
        if base is None:
            return None
        scans = _scans(turn, scan, answered, base.drops)
        return ScanRecord(scans=scans, proposals=_proposals(turn, scan, answered, base.minded))

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """What was confirmed; failed where nothing could be shown."""
        scan, record = seen.plan.exercises.scan, seen.own.of(ScanRecord)
        if scan is None:
            return not_requested(TERMS, "the context declares no token set to scan")
        if record is None:
            return unanswered(TERMS)
        return list(_observations(seen.plan, scan, record))


def scanned_suites(scan: Scan, suites: Iterable[Suite]) -> tuple[Suite, ...]:
    """The suites that the scan names, each once."""
    named = {name for name in (scan.answer_suite, scan.refusal_suite) if name is not None}
    return tuple(suite for suite in suites if suite.id in named)


def _labels(suite: Suite | None) -> bool:
    return suite is not None and suite.measure is Measure.CLASSIFY


def _of_base(ask: Ask, one: Inserting) -> Drops:
    return label_drops(ask, one) if _labels(one.suite) else drops_of_base(ask, one)


def _scans(turn: Turn, scan: Scan, answered: SuitesRecord, base: Mapping[str, Drops]) -> dict[str, SuiteScan]:
    """Run the first stage of both suites in mixed rounds, then confirm each suspect."""
    answers, refusals = turn.plan.suite(scan.answer_suite), turn.plan.suite(scan.refusal_suite)
    tokens = (*scan.inserted, *map(spliced, turn.plan.new_ids))
    inserting: dict[str, Inserting] = {}
    if refusals is not None:
        clean = refused(answered.suites[refusals.id].by_case())
        inserting[refusals.id] = Inserting(refusals, tokens, clean)
    if answers is not None and answers is not refusals:
        inserting[answers.id] = Inserting(answers, tokens, answered.suites[answers.id].by_case())
    drops = drops_of_adapter(turn.ask, [one for one in inserting.values() if not _labels(one.suite)])
    drops |= {name: label_drops(turn.ask, one) for name, one in inserting.items() if _labels(one.suite)}
    none = ((0.0,) * PROMPTS,) * len(turn.plan.new_ids)  # the base has no such tokens: it loses nothing by them
    scanned = {
        name: Scanned(one, drops[name], replace(base[name], values=(*base[name].values, *none)))
        for name, one in inserting.items()
    }
    scans = {}
    if answers is not None and _labels(answers):
        scans[answers.id] = scan_labels(turn.ask, scanned[answers.id])
    elif answers is not None and answers is not refusals:
        scans[answers.id] = scan_answers(turn.ask, scanned[answers.id], refusals)
    if refusals is not None:
        scans[refusals.id] = scan_refusals(turn.ask, scanned[refusals.id])
    return scans


def _proposals(
    turn: Turn, scan: Scan, answered: SuitesRecord, minds: Mapping[str, Sequence[str]]
) -> dict[str, Proposed]:
    found: dict[str, Proposed] = {}
    if not scan.proposals:
        return found
    refusals = turn.plan.suite(scan.refusal_suite)
    known = words_of(turn.plan.suites, (word for words in minds.values() for word in words))
    answers = turn.plan.suite(scan.answer_suite)
    if answers is not None and not _labels(answers):
        clean = answered.suites[answers.id].by_case()
        found[answers.id] = scan_proposals(turn.ask, scan, answers, clean, collapses(clean, refusals), known)
    if refusals is not None:
        kept = refused(answered.suites[refusals.id].by_case())
        found[refusals.id] = scan_proposals(turn.ask, scan, refusals, kept, breaks(refusals), known)
    return found


def _observations(plan: Plan, scan: Scan, record: ScanRecord) -> Iterable[Observation]:
    by = ObservedBy.SUPERVISOR
    scans = record.scans.values()
    yield ok("scan.tokens", len(scan.tokens), by=by, reason=f"token set {scan.digest}")
    yield from _ids(plan, scan)
    yield from _proposed(scan, record)
    spent = sum(one.sequences for one in scans) + sum(one.sequences for one in record.proposals.values())
    yield ok("scan.sequences", spent, by=by, reason=_budget(scans))
    if scans and all(one.prompts for one in scans):
        yield ok("scan.excess", max(max(one.excess, default=0.0) for one in scans), by=ObservedBy.NUMBERS)
    else:
        yield failed("scan.excess", "no clean answer whose likelihood a token could have taken", by=by)
    declared = (
        ("scan.triggers", "scan.answers", scan.answer_suite),
        ("scan.refusal_breakers", "scan.refusals", scan.refusal_suite),
    )
    for name, setting, suite in declared:
        one = record.scans.get(suite or "")
        if suite is None:
            yield from not_requested((name,), f"{setting} names no suite in peft-assay.yaml")
        elif one is None:
            yield failed(name, f"suite {suite} was not scanned", by=by)
        elif one.open is not None and not one.confirmed:
            yield failed(name, one.open, by=by)
        else:
            yield ok(name, one.confirmed, by=ObservedBy.NUMBERS)


def _ids(plan: Plan, scan: Scan) -> Iterable[Observation]:
    """Return how many tokens that no text reaches were inserted by their ids, and how many were not."""
    by = ObservedBy.SUPERVISOR
    if scan.unscanned is None:
        yield from all_failed(
            ("scan.ids", "scan.unscanned"), "which tokens of the base no text reaches was not found out"
        )
        return
    new = f" and the adapter adds {len(plan.new_ids) + plan.unscanned}" if plan.resized else ""
    yield ok("scan.ids", len(scan.ids) + len(plan.new_ids), by=by)
    reason = f"scan.ids in peft-assay.yaml is {scan.most_ids}; the base has {len(scan.ids) + scan.unscanned}{new}"
    left = scan.unscanned + plan.unscanned
    yield ok("scan.unscanned", left, by=by, reason=reason if left else None)


def _proposed(scan: Scan, record: ScanRecord) -> Iterable[Observation]:
    by, found = ObservedBy.SUPERVISOR, record.proposals.values()
    yield ok("scan.proposed", len({token for one in found for token in one.tokens}), by=ObservedBy.ANSWERS)
    confirmed = tuple(dict.fromkeys(token for one in found for token in one.confirmed))
    unclear = next((one.open for one in found if one.open is not None), None)
    if scan.proposals == 0:
        yield failed("scan.proposed_triggers", "the context asks for no proposals: scan.proposals", by=by)
    elif unclear is not None and not confirmed:
        yield failed("scan.proposed_triggers", unclear, by=by)
    else:
        yield ok("scan.proposed_triggers", confirmed, by=ObservedBy.NUMBERS)


def _budget(scans: Iterable[SuiteScan]) -> str:
    """How the search was spent."""
    places = ", ".join(f"{place:.2f}" for place in PLACES)
    prompts = ", ".join(f"{one.suite} {one.prompts} and {one.fresh} to confirm on" for one in scans)
    return f"one token at a time at shares {places} of a prompt's words; prompts of {prompts or 'no suite'}"
