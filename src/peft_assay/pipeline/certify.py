"""The main job: admit, observe, evaluate, certify, for one adapter or many with one warmed worker.

The order of things is what makes a certificate honest: intake and static facts first, before anything is instantiated;
then the attempt enters the ledger; then the adapter runs; then the policy speaks; and only a PASS is ever signed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from peft_assay.certify.issue import Withheld, issue
from peft_assay.core.artifact import Artifact
from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import Door, IntakeError
from peft_assay.core.observation import Observation, ObservedBy, sort_observations
from peft_assay.core.sandbox import Limits, Sandbox
from peft_assay.core.statement import VSA
from peft_assay.core.verdict import OUTCOME_DOORS, Outcome, Verdict
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import Admitted
from peft_assay.observe.behaviour.interface import Bank, Plan, Records
from peft_assay.observe.behaviour.observe import (
    Conditions,
    evidence_of,
    exercise,
    is_void,
    not_exercised,
    observations_of,
)
from peft_assay.observe.behaviour.reference import observe_base
from peft_assay.observe.behaviour.tested import observed_on, what_was_tested
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.lineage_probe import in_force
from peft_assay.observe.static.weights import watch_weights
from peft_assay.observe.unsafe import why_unsafe
from peft_assay.pipeline.answers import AnswerBook, Recollection
from peft_assay.pipeline.bank import Member, bank_of, members, peft_type
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Observed, Project, Standing, build_lock, served_stack
from peft_assay.pipeline.standing import observed_subject
from peft_assay.pipeline.suites.judges import judge_digests, judging_seconds, with_judges
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.observations import ObservationAct, ObservationRecord, observation_document
from peft_assay.trust.roles import Role

OBSERVED_ENGINE = "peft"
"""The engine that the harness runs; another declared engine is not observed as served."""
REASON_LENGTH = 500
"""Characters of a reason that a signed statement keeps."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many adapters are done, and how many there are."""
OpenSandbox = Callable[[Project], Sandbox]


@dataclass(frozen=True, slots=True)
class Certification:
    """What became of one source."""

    name: str
    source: str
    outcome: Outcome
    door: Door
    refusal: IntakeError | None = None
    artifact: Artifact | None = None
    lock: Lock | None = None
    verdict: Verdict | None = None
    record: ObservationRecord | None = None
    certificate: Digest | None = None
    withheld: Withheld | None = None
    """The hold that forbids to certify what the policy passes."""
    attempts: int = 0
    reused: bool = False
    """The observations were made by an earlier attempt, under the same conditions."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    source: str
    admitted: Admitted
    static: tuple[Observation, ...]
    unsafe: str | None
    standing: Standing
    cleared_until: datetime | None
    """When the first of the clearances that it stands on ends."""


def certify(
    deployment: Deployment,
    sources: Sequence[Path],
    *,
    open_sandbox: OpenSandbox,
    clock: Clock,
    progress: Progress,
    fresh: bool = False,
    origins: Mapping[Path, str] | None = None,
) -> tuple[Certification, ...]:
    """Certifies each of `sources`, in order; one result for each.

    `fresh` observes anew even where valid observations exist. `origins` says where sources came from, by the names that
    the context's declarations match. Raises AssayError for what concerns all of them
    (documents, trust, storage, a sandbox that does not start); what concerns one adapter is in its result.
    """
    deployment.raise_mark(clock())
    names = names_of(sources)
    known = origins or {}
    intake = [
        _take_in(deployment, source, name, known.get(source), clock)
        for source, name in zip(sources, names, strict=True)
    ]
    candidates = [candidate for candidate in intake if isinstance(candidate, _Candidate)]
    done: dict[str, Certification] = {}
    if candidates:
        progress("starting the sandbox and loading the base", 0, len(candidates))
        sandbox = open_sandbox(deployment.project)
        try:
            run = _Run(deployment, sandbox, clock, fresh)
            for number, candidate in enumerate(candidates):
                progress(candidate.name, number, len(candidates))
                done[candidate.source] = run.certify(candidate)
        finally:
            sandbox.close()
    deployment.raise_mark(clock())
    return tuple(item if isinstance(item, Certification) else done[item.source] for item in intake)


def names_of(sources: Sequence[Path]) -> list[str]:
    """A short name for each source: its last component, or more of its path where that is not unique."""
    last = [source.resolve().name for source in sources]
    return [name if last.count(name) == 1 else str(source) for name, source in zip(last, sources, strict=True)]


def _take_in(
    deployment: Deployment, source: Path, name: str, origin: str | None, clock: Clock
) -> "_Candidate | Certification":
    try:
        admitted = admit(source, watch=watch_weights, quarantine=deployment.workspace.blobs.draft)
    except IntakeError as refusal:
        deployment.workspace.refuse(source=str(source), code="intake", at=clock())
        return Certification(name, str(source), Outcome.REFUSED, Door.REFUSED, refusal=refusal)
    deployment.workspace.admit(admitted.artifact, source=str(source), at=clock())
    standing, subject = observed_subject(deployment, admitted, origin, clock())
    static = observe_static(subject)
    clearances = in_force(subject.context, lineage(subject)).values()
    until = min((clearance.expires for clearance in clearances), default=None)
    return _Candidate(name, str(source), admitted, static, why_unsafe(static), standing, until)


@dataclass(frozen=True, slots=True)
class _Behaviour:
    """What exercising an adapter brought."""

    observations: tuple[Observation, ...]
    evidence: Mapping[str, Any] | None
    """The record behind them; None where nothing was exercised."""
    since: datetime
    """When the oldest answer that they rest on was given."""
    tested: Mapping[str, Any]


class _Run:
    """One worker, one lock, one base reference: what the adapters of a run share."""

    def __init__(self, deployment: Deployment, sandbox: Sandbox, clock: Clock, fresh: bool) -> None:
        self.deployment = deployment
        self.sandbox = sandbox
        self.clock = clock
        self.fresh = fresh
        self.limits = Limits()
        facts = sandbox.base()
        self.attestation = dict(sandbox.attestation())
        self.base_state = parse_digest(facts.state)
        harness = parse_digest(str(self.attestation["harness"]))
        self.suites = with_judges(deployment.project.suites, deployment.anchor)
        self.limits = replace(self.limits, wall_seconds=self.limits.wall_seconds + judging_seconds(self.suites))
        self.observed = Observed(self.base_state, facts.stack, harness, judge_digests(self.suites))
        self._base: Records | None = None
        self._base_since: datetime | None = None

    def certify(self, candidate: _Candidate) -> Certification:
        """One adapter through the whole way."""
        workspace, artifact = self.deployment.workspace, candidate.admitted.artifact
        lock = build_lock(self.deployment.project, self.observed, artifact.digest, candidate.standing)
        workspace.blobs.put(canonical_bytes(lock.document))
        policy = self.deployment.project.policy
        workspace.record_attempt(
            artifact=artifact.digest,
            lock=lock.digest,
            conditions=lock.conditions,
            policy=policy.policy.digest,
            at=self.clock(),
        )
        attempt = workspace.attempts(artifact.digest)  # under any lock: editing the policy does not start anew
        record = None if self.fresh else self._earlier(candidate, lock)
        reused = record is not None
        if record is None:
            record = self._observe(candidate, attempt, lock)
        verdict = evaluate(policy, record.observations, lock.digest)
        written = self.deployment.project.policy_document
        workspace.record_verdict(verdict, policy=written, observations=record.envelope, at=self.clock())
        certificate, withheld = None, None
        if verdict.outcome is Outcome.PASS:
            try:
                certificate = self._issue(candidate, verdict, record, attempt, lock)
            except Withheld as hold:
                withheld = hold
        else:
            workspace.record_denial(verdict, at=self.clock())
        outcome = verdict.outcome if withheld is None else Outcome.WITHHELD
        return Certification(
            candidate.name,
            candidate.source,
            outcome,
            OUTCOME_DOORS[outcome],
            artifact=artifact,
            lock=lock,
            verdict=verdict,
            record=record,
            certificate=certificate,
            withheld=withheld,
            attempts=attempt,
            reused=reused,
        )

    def _earlier(self, candidate: _Candidate, lock: Lock) -> ObservationRecord | None:
        """Valid observations of an earlier attempt: same artifact, conditions, level and static facts, still young."""
        envelope = self.deployment.workspace.latest_observations(candidate.admitted.artifact.digest, lock.conditions)
        if envelope is None:
            return None
        record = self.deployment.record_of(envelope)
        static = {o.name: o.document() for o in map(_shortened, candidate.static)}
        same = all((found := record.observations.get(name)) and found.document() == static[name] for name in static)
        young = self.clock() - record.started_at < self.deployment.project.context.maximum_age / 2
        whole = record.level == self.attestation["level"] and not _void(record)
        return record if same and young and whole else None

    def _observe(self, candidate: _Candidate, attempt: int, lock: Lock) -> ObservationRecord:
        started = self.clock()
        plan = Plan(self.suites, self.deployment.project.exercises, self.limits, bank=self._bank(candidate, lock))
        if candidate.unsafe is None:
            seen = self._exercise(candidate, plan, lock)
        else:
            seen = _Behaviour(not_exercised(f"never instantiated: {candidate.unsafe}", plan), None, started, {})
        behaviour = self._with(seen.evidence, seen.observations)
        observations = sort_observations(map(_shortened, (*candidate.static, *behaviour)))
        act = ObservationAct(
            artifact=candidate.admitted.artifact,
            conditions=lock.document["conditions"],
            attestation=self.attestation,
            started_at=min(started, seen.since),
            finished_at=self.clock(),
            attempt=attempt,
            observations=observations,
            tested=seen.tested,
        )
        sealer = self.deployment.sealer(Role.SANDBOX)
        envelope = sealer.seal(observation_document(act, keyid=sealer.keyid))
        record = self.deployment.record_of(envelope)
        self.deployment.workspace.add_observations(
            envelope,
            artifact=candidate.admitted.artifact.digest,
            conditions=lock.conditions,
            observed_at=act.started_at,
            at=self.clock(),
        )
        return record

    @cached_property
    def _company(self) -> tuple[Member, ...]:
        """What was certified before this run: the order of its adapters decides nothing."""
        return members(self.deployment)

    def _bank(self, candidate: _Candidate, lock: Lock) -> Bank:
        artifact = candidate.admitted.artifact
        kind = peft_type(self.deployment.workspace, artifact)
        return bank_of(self._company, artifact, kind, lock.document["conditions"], candidate.static)

    def _recall(self, book: AnswerBook, subject: Digest) -> Recollection:
        return Recollection() if self.fresh else book.recall(subject, self.clock())

    def _reference(self, plan: Plan, book: AnswerBook) -> tuple[Records, datetime]:
        """What the base alone answers, asked once for all adapters of a run, and since when it has been known."""
        if self._base is None or self._base_since is None:
            known, started = self._recall(book, self.base_state), self.clock()
            self._base = observe_base(self.sandbox, plan, known.memory)
            self._base_since = known.since or started
            book.keep(self.base_state, known, started, self.clock())
        return self._base, self._base_since

    def _exercise(self, candidate: _Candidate, plan: Plan, lock: Lock) -> "_Behaviour":
        artifact = candidate.admitted.artifact
        files = self.deployment.workspace.files(artifact)
        book = AnswerBook.under(self.deployment, lock.document["conditions"], int(self.attestation["level"]))
        base, since = self._reference(plan, book)
        known, started = self._recall(book, artifact.digest), self.clock()
        found = exercise(self.sandbox, files, plan, base, known.memory)
        if not is_void(found):
            book.keep(artifact.digest, known, started, self.clock())
        as_served = not_as_served(self.deployment.project, self.observed.stack)
        conditions = Conditions(int(self.attestation["level"]), self.base_state, as_served, base)
        on = observed_on(
            engine=OBSERVED_ENGINE, dtype=self.deployment.project.context.engine.dtype, stack=self.observed.stack
        )
        return _Behaviour(
            observations_of(found, plan, conditions),
            evidence_of(found, plan, base),
            min(since, known.since or started),
            what_was_tested(found, plan, on),
        )

    def _with(self, evidence: Mapping[str, Any] | None, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        """`observations`, those drawn from answers pointing at the stored record of them."""
        if evidence is None:
            return tuple(observations)
        digest = self.deployment.workspace.blobs.put(canonical_bytes(evidence))
        return tuple(replace(o, evidence=digest) if o.name.startswith(("suite.", "scan.")) else o for o in observations)

    def _lifetime(self, candidate: _Candidate, record: ObservationRecord) -> timedelta:
        """The context's maximum, or less: a certificate outlives no clearance that it stands on."""
        longest = self.deployment.project.context.maximum_age
        until = candidate.cleared_until
        return longest if until is None else min(longest, until - record.started_at)

    def _issue(
        self, candidate: _Candidate, verdict: Verdict, record: ObservationRecord, attempts: int, lock: Lock
    ) -> Digest:
        now, workspace, artifact = self.clock(), self.deployment.workspace, candidate.admitted.artifact
        earlier = [
            envelope
            for certified in workspace.certified_locks(artifact.digest)
            for envelope in workspace.certificates(artifact.digest, certified)
        ]
        keys = self.deployment.anchor.keys_of(Role.AUTHORITY)
        envelope = issue(
            verdict=verdict,
            artifact=artifact,
            lock=lock,
            policy=self.deployment.project.policy.policy,
            observations=[record],
            attempts=attempts,
            now=now,
            maximum_age=self._lifetime(candidate, record),
            revocations=self.deployment.fresh_revocations(now),
            earlier=[sha256(envelope) for envelope in earlier],
            sealer=self.deployment.sealer(Role.AUTHORITY),
        )
        certificate = certificate_of(open_envelope(envelope, keys, predicate_type=VSA))
        return workspace.certify(
            envelope,
            artifact=artifact.digest,
            lock=lock.digest,
            policy=verdict.policy,
            issued_at=certificate.issued_at,
            not_after=certificate.not_after,
            at=now,
        )


def not_as_served(project: Project, stack: Mapping[str, str]) -> str | None:
    """Why what is observed on `stack` is not what the context declares to serve; None where it is."""
    engine = project.context.engine
    if engine.name != OBSERVED_ENGINE:
        return f"observed on {OBSERVED_ENGINE}; the context declares {engine.name}"
    locked = served_stack(project) or {}
    others = [name for name, version in locked.items() if version.partition("+")[0] != _public(stack.get(name))]
    if others:
        name = others[0]
        return f"observed on {name} {stack.get(name, 'absent')}; the lock has {locked[name]} (context.stack.lock)"
    return None


def _public(version: str | None) -> str:
    """Without the local part, which names a build (torch 2.10.0+cpu) and no other release."""
    return (version or "absent").partition("+")[0]


def _shortened(observation: Observation) -> Observation:
    reason = observation.reason
    if reason is None or len(reason) <= REASON_LENGTH:
        return observation
    return replace(observation, reason=reason[: REASON_LENGTH - 1] + "…")


def _void(record: ObservationRecord) -> bool:
    """Whether the sandbox stepped in: such a run says nothing about behaviour and is never reused."""
    events = record.observations.get("sandbox.events")
    return events is not None and events.observed_by is ObservedBy.SUPERVISOR and events.value not in (0, None)
