"""Observing candidates with one sandbox: what was observed before and still holds, or a new signed observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.observation import Observation, ObservedBy, sort_observations
from peft_assay.core.sandbox import Sandbox
from peft_assay.observe.behaviour.claims import claims_of
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
from peft_assay.pipeline.answers import AnswerBook, Recollection
from peft_assay.pipeline.bank import Member, bank_of, members, peft_type
from peft_assay.pipeline.candidates import Candidate
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Observed, Project, served_stack
from peft_assay.pipeline.suites.judges import judge_digests, judging_seconds, with_judges
from peft_assay.trust.observations import ObservationAct, ObservationRecord, observation_document
from peft_assay.trust.roles import Role

OBSERVED_ENGINE = "peft"
"""The engine that the harness runs; another declared engine is not observed as served."""
DRAWN_FROM_ANSWERS = ("suite.", "scan.", "drift.", "match.", "claims.")
REASON_LENGTH = 500
"""Characters of a reason that a signed statement keeps."""


@dataclass(frozen=True, slots=True)
class _Behaviour:
    """What exercising an adapter brought."""

    observations: tuple[Observation, ...]
    evidence: Mapping[str, Any] | None
    """The record behind them; None where nothing was exercised."""
    since: datetime
    """When the oldest answer that they rest on was given."""
    tested: Mapping[str, Any]


class Observing:
    """One worker and one base reference, which the adapters of a run share."""

    def __init__(self, deployment: Deployment, sandbox: Sandbox, clock: Clock, *, fresh: bool) -> None:
        self.deployment = deployment
        self.sandbox = sandbox
        self.clock = clock
        self.fresh = fresh
        facts = sandbox.base()
        self.attestation = dict(sandbox.attestation())
        self.base_state = parse_digest(facts.state)
        harness = parse_digest(str(self.attestation["harness"]))
        self.suites = with_judges(deployment.project.suites, deployment.anchor)
        limits = deployment.project.limits
        self.limits = replace(limits, wall_seconds=limits.wall_seconds + judging_seconds(self.suites))
        self.observed = Observed(self.base_state, facts.stack, harness, judge_digests(self.suites))
        self._base: Records | None = None
        self._base_since: datetime | None = None

    def record(self, candidate: Candidate, attempt: int, lock: Lock) -> tuple[ObservationRecord, bool]:
        """The signed observations of `candidate` under `lock`, and whether an earlier attempt made them."""
        earlier = None if self.fresh else self._earlier(candidate, lock)
        return (self._observe(candidate, attempt, lock), False) if earlier is None else (earlier, True)

    def _earlier(self, candidate: Candidate, lock: Lock) -> ObservationRecord | None:
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

    def _observe(self, candidate: Candidate, attempt: int, lock: Lock) -> ObservationRecord:
        started = self.clock()
        dtype = self.deployment.project.context.engine.dtype
        claims, bank = claims_of(candidate.admitted.contents), self._bank(candidate, lock)
        plan = Plan(self.suites, self.deployment.project.exercises, self.limits, claims, bank, dtype)
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

    def _bank(self, candidate: Candidate, lock: Lock) -> Bank:
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

    def _exercise(self, candidate: Candidate, plan: Plan, lock: Lock) -> "_Behaviour":
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
            what_was_tested(found, plan, base, on),
        )

    def _with(self, evidence: Mapping[str, Any] | None, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        """`observations`, those drawn from answers pointing at the stored record of them."""
        if evidence is None:
            return tuple(observations)
        digest = self.deployment.workspace.blobs.put(canonical_bytes(evidence))
        return tuple(replace(o, evidence=digest) if o.name.startswith(DRAWN_FROM_ANSWERS) else o for o in observations)


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
