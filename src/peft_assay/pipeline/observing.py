"""Observe candidates with one sandbox: reuse an earlier observation that still holds, or sign a new one.

An error while one adapter's answers are evaluated, or while the result is signed, voids this adapter alone: its record
has only the error, and the run goes on with the others.

Running an adapter and signing its observations are two steps: in between the worker that it ran in is vouched for
(`waves`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import AssayError, StorageError, told
from peft_assay.core.observation import Observation, ObservedBy, ok, sort_observations
from peft_assay.core.sandbox import Event, Outcome, Result, Sandbox, Unvouched, Usage
from peft_assay.observe.behaviour.claims import claims_of
from peft_assay.observe.behaviour.interface import Bank, Plan, Records
from peft_assay.observe.behaviour.observe import (
    Conditions,
    Conversation,
    evidence_of,
    exercise,
    is_void,
    not_exercised,
    observations_of,
)
from peft_assay.observe.behaviour.reference import observe_base
from peft_assay.observe.behaviour.tested import observed_on, what_was_tested
from peft_assay.pipeline.answers import AnswerBook, Recollection
from peft_assay.pipeline.attempts import TERM, Counted
from peft_assay.pipeline.bank import Member, bank_of, members, peft_type
from peft_assay.pipeline.candidates import Candidate
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Observed, Project, served_stack
from peft_assay.pipeline.suites.judges import judge_digests, judging_seconds, with_judges
from peft_assay.pipeline.suites.unreached import with_ids
from peft_assay.sandbox.attestation import FORKED
from peft_assay.trust.observations import ObservationAct, ObservationRecord, observation_document
from peft_assay.trust.roles import Role

OBSERVED_ENGINE = "peft"
"""The engine that the harness runs; another declared engine is not observed as served."""
DRAWN_FROM_ANSWERS = ("suite.", "controls.", "scan.", "drift.", "match.", "claims.")
REASON_LENGTH = 500
"""Characters of a reason that a signed statement keeps."""
CHANGED = Event(0.0, "changed-worker", "after it the reference adapter did not answer as before")
"""What the supervisor has against an adapter after which nobody vouches for its worker."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """A candidate whose attempt is in the ledger."""

    candidate: Candidate
    counted: Counted
    lock: Lock

    @property
    def number(self) -> int:
        """The number among all attempts with this function."""
        return self.counted.number

    @property
    def artifact(self) -> Digest:
        """Of the candidate's files."""
        return self.candidate.admitted.artifact.digest


@dataclass(frozen=True, slots=True)
class Vouched:
    """The reference adapter answered as ever after `jobs` adapters, of which this was number `place` (from 1)."""

    jobs: int
    place: int


@dataclass(frozen=True, slots=True)
class Due:
    """An adapter with all that running it needs: what the workspace knows of it has been read."""

    attempted: Attempted
    plan: Plan
    started_at: datetime
    files: Mapping[str, bytes]
    base: Records
    base_since: datetime
    known: Recollection


@dataclass(frozen=True, slots=True)
class _Exercised:
    """What running an adapter brought."""

    conversation: Conversation
    base: Records
    known: Recollection
    """What the adapter was not asked again, and what it answered now."""
    asked_at: datetime
    since: datetime
    """When the oldest answer that all of this rests on was given."""


@dataclass(frozen=True, slots=True)
class _Behaviour:
    """What an adapter's behaviour is said to be."""

    observations: tuple[Observation, ...]
    evidence: Mapping[str, Any] | None
    """The record behind them; None where nothing was exercised."""
    since: datetime
    """When the oldest answer that they rest on was given."""
    tested: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What was observed of an adapter, for nobody to see before it is signed."""

    attempted: Attempted
    started_at: datetime
    finished_at: datetime
    behaviour: _Behaviour
    exercised: _Exercised | None
    """None where it was not instantiated."""

    @property
    def void(self) -> bool:
        """Whether the sandbox stepped in, or the adapter's process did not end regularly."""
        return self.exercised is not None and is_void(self.exercised.conversation)

    @property
    def unusable(self) -> str | None:
        """Return why the answers are not usable; None where they are, or where it did not answer at all."""
        result = None if self.exercised is None else self.exercised.conversation.result
        return result.detail[:REASON_LENGTH] if result and result.outcome is Outcome.INVALID_OUTPUT else None


class Observing:
    """One worker and one base reference, which the adapters of a run share."""

    def __init__(self, deployment: Deployment, sandbox: Sandbox, clock: Clock, *, fresh: bool, due: int) -> None:
        """`due`: of how many adapters it is certain that they will be exercised."""
        self.deployment = deployment
        self.sandbox = sandbox
        self.clock = clock
        self.fresh = fresh
        self._due = due
        if self.at_once > 1:
            sandbox.expect(due)
        facts = sandbox.base()
        self.attestation = dict(sandbox.attestation())
        self.base_state = parse_digest(facts.state)
        harness = parse_digest(str(self.attestation["harness"]))
        self.suites = with_judges(deployment.project.suites, deployment.anchor)
        project = deployment.project
        self.exercises = with_ids(project.exercises, project.base_path, project.served.vocabulary)
        limits = deployment.project.limits
        self.limits = replace(limits, wall_seconds=limits.wall_seconds + judging_seconds(self.suites))
        self.observed = Observed(self.base_state, facts.stack, harness, judge_digests(self.suites))
        self._base: Records | None = None
        self._base_since: datetime | None = None

    @property
    def shared(self) -> bool:
        """Whether adapters run in forks of one worker, so that somebody has to vouch for it."""
        return self.attestation["processes"] == FORKED and self.attestation["sentinel"] is not None

    def vouch(self) -> None:
        """Before anything is signed: see `core.sandbox.Sandbox.vouch`; raises Unvouched."""
        self.sandbox.vouch()

    def earlier(self, candidate: Candidate, lock: Lock) -> ObservationRecord | None:
        """Valid observations of an earlier attempt: same artifact, conditions, level and static facts, still young."""
        if self.fresh:
            return None
        record = self.deployment.observed(candidate.admitted.artifact.digest, lock.conditions)
        if record is None:
            return None
        static = {o.name: o.document() for o in map(_shortened, candidate.static)}
        same = all((found := record.observations.get(name)) and found.document() == static[name] for name in static)
        young = self.clock() - record.started_at < self.deployment.maximum_age / 2
        whole = record.level == self.attestation["level"] and not _void(record)
        return record if same and young and whole else None

    @property
    def at_once(self) -> int:
        """How many adapters may be exercised at the same time: one where answers are timed."""
        return 1 if self.deployment.project.exercises.latency else self.sandbox.at_once

    def prepare(self, attempted: Attempted) -> Due | Unsigned:
        """All that running the candidate needs; what is said of it without running it, where it may not be run.

        The first call asks the base; raises Unvouched as `exercise` does.
        """
        started, candidate = self.clock(), attempted.candidate
        plan = self._plan(attempted)
        if candidate.unsafe is not None:
            reason = f"never instantiated: {candidate.unsafe}"
            nothing = _Behaviour(not_exercised(reason, plan), None, started, {})
            return Unsigned(attempted, started, self.clock(), nothing, None)
        files = self.deployment.workspace.files(candidate.admitted.artifact)
        book = self._book(attempted.lock)
        base, since = self._reference(plan, book)
        known = self._recall(book, attempted.artifact)
        return Due(attempted, plan, started, files, base, since, known)

    def exercise(self, due: Due) -> Unsigned:
        """Runs the candidate. Nothing of it is signed or kept yet, and the workspace is not touched.

        Raises Unvouched where the sandbox itself found that its worker had changed. May be called from `at_once`
        threads at the same time.
        """
        asked_at, known = self.clock(), due.known
        try:
            found = exercise(self.sandbox, due.files, due.plan, due.base, known.memory)
        except AssayError:
            raise
        except Exception as error:  # noqa: BLE001 - its files, and what it did, are all that differs from the others
            found = _nothing(f"it cannot be asked: {told(error)}")
        since = min(due.base_since, known.since or asked_at)
        ran = _Exercised(found, due.base, known, asked_at, since)
        return self._concluded(due, ran)

    def _concluded(self, due: Due, ran: _Exercised) -> Unsigned:
        """Return the observations that follow from the answers; where this fails, or cannot be written as JSON, they
        are void.
        """
        try:
            seen = self._behaviour(ran, due.plan)
            canonical_bytes([[o.document() for o in seen.observations], seen.evidence, dict(seen.tested)])
        except Exception as error:  # noqa: BLE001 - hostile numbers and texts went through all of it
            ran = replace(ran, conversation=ran.conversation.without_sense(f"nothing can be concluded: {told(error)}"))
            seen = self._behaviour(ran, due.plan)
        return Unsigned(due.attempted, due.started_at, self.clock(), seen, ran)

    def accused(self, attempted: Attempted, why: Unvouched) -> Unsigned:
        """What is observed of an adapter after which, of all, the reference failed: that, and nothing else."""
        now = self.clock()
        result = Result(Outcome.OK, (CHANGED,), Usage(0.0, 0.0, 0), why.message)
        nothing = _Exercised(Conversation(Records(), result), Records(), Recollection(), now, now)
        return Unsigned(attempted, now, now, self._behaviour(nothing, self._plan(attempted)), nothing)

    def sign(self, found: Unsigned, vouched: Vouched | None) -> ObservationRecord:
        """Sign and keep the observations; `vouched` is None where they are void, or need no voucher.

        An observation that cannot be signed is void: it is signed without the answers or, where the answers are not the
        cause, without the static facts, and then no policy passes it. Raises the error where even that cannot be
        signed: then the adapter is not the cause.
        """
        try:
            return self._signed(found, vouched, found.attempted.candidate.static)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_concluded`
            void, static = (
                self._without_sense(found, f"its record cannot be signed: {told(error)}"),
                self._static(found),
            )
            return self._signed(void, None, static)

    def _without_sense(self, found: Unsigned, why: str) -> Unsigned:
        now = self.clock()
        ran = _Exercised(_nothing(why), Records(), Recollection(), now, now)
        return replace(found, behaviour=self._behaviour(ran, self._plan(found.attempted)), exercised=ran)

    def _static(self, found: Unsigned) -> tuple[Observation, ...]:
        """Return the static facts, where they can be written as JSON."""
        facts = found.attempted.candidate.static
        try:
            canonical_bytes([fact.document() for fact in facts])
        except Exception:  # noqa: BLE001 - as in `_concluded`
            return ()
        return facts

    def _signed(self, found: Unsigned, vouched: Vouched | None, static: Sequence[Observation]) -> ObservationRecord:
        attempted, artifact = found.attempted, found.attempted.candidate.admitted.artifact
        lock, seen, ran = attempted.lock, found.behaviour, found.exercised
        behaviour = self._with(seen.evidence, seen.observations)
        tries = ok(TERM, attempted.counted.tries, by=ObservedBy.SUPERVISOR)
        observations = sort_observations(map(_shortened, (*static, *behaviour, tries)))
        about = {"vouched": asdict(vouched) if vouched and self.shared else None, "unusable": found.unusable}
        act = ObservationAct(
            artifact=artifact,
            conditions=lock.document["conditions"],
            attestation={**self.attestation, **about},
            started_at=min(found.started_at, seen.since),
            finished_at=found.finished_at,
            attempt=attempted.number,
            observations=observations,
            tested=seen.tested,
        )
        sealer = self.deployment.sealer(Role.SANDBOX)
        envelope = sealer.seal(observation_document(act, keyid=sealer.keyid))
        record = self.deployment.record_of(envelope)
        if ran is not None and not found.void:
            self._book(lock).keep(artifact.digest, ran.known, ran.asked_at, self.clock())
        self.deployment.workspace.add_observations(
            envelope,
            artifact=artifact.digest,
            conditions=lock.conditions,
            observed_at=act.started_at,
            at=self.clock(),
        )
        return record

    def _plan(self, attempted: Attempted) -> Plan:
        project, candidate = self.deployment.project, attempted.candidate
        claims, bank = claims_of(candidate.admitted.contents), self._bank(candidate, attempted.lock)
        dtype, served = project.context.engine.dtype, project.served.vocabulary
        plan = Plan(self.suites, self.exercises, self.limits, claims, bank, dtype, served, tokens=candidate.tokens)
        rows, scan = candidate.vocabulary, self.exercises.scan
        if rows is None or rows == served:
            return plan
        most = 0 if scan is None else scan.most_ids
        new = range(served or 0, rows)
        return replace(plan, vocabulary=rows, resized=True, new_ids=tuple(new[:most]), unscanned=len(new[most:]))

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
            self._base = observe_base(self.sandbox, plan, known.memory, at_once=min(self.at_once, self._due))
            self._base_since = known.since or started
            self.vouch()  # nothing to ask about as long as no adapter has run
            book.keep(self.base_state, known, started, self.clock())
        return self._base, self._base_since

    def _book(self, lock: Lock) -> AnswerBook:
        return AnswerBook.under(self.deployment, lock.document["conditions"], int(self.attestation["level"]))

    def _behaviour(self, ran: _Exercised, plan: Plan) -> _Behaviour:
        """What may be said of it once somebody vouches for it."""
        as_served = not_as_served(self.deployment.project, self.observed.stack)
        conditions = Conditions(int(self.attestation["level"]), self.base_state, as_served, ran.base)
        on = observed_on(
            engine=OBSERVED_ENGINE, dtype=self.deployment.project.context.engine.dtype, stack=self.observed.stack
        )
        return _Behaviour(
            observations_of(ran.conversation, plan, conditions),
            evidence_of(ran.conversation, plan, ran.base),
            ran.since,
            what_was_tested(ran.conversation, plan, ran.base, on),
        )

    def _with(self, evidence: Mapping[str, Any] | None, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        """`observations`, those drawn from answers pointing at the stored record of them."""
        if evidence is None:
            return tuple(observations)
        digest = self.deployment.workspace.blobs.put(canonical_bytes(evidence))
        return tuple(replace(o, evidence=digest) if o.name.startswith(DRAWN_FROM_ANSWERS) else o for o in observations)


def _nothing(why: str) -> Conversation:
    """Return a conversation without results."""
    return Conversation(Records(), Result(Outcome.INVALID_OUTPUT, (), Usage(0.0, 0.0, 0), why))


def unusable_by(record: ObservationRecord) -> str | None:
    """Return why the adapter's answers were not usable, from the record; None where they were."""
    why = record.attestation.get("unusable")
    return why if isinstance(why, str) else None


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
    """Whether the sandbox stepped in, it contradicted itself, or no answer could be used: that is never reused."""
    events = record.observations.get("sandbox.events")
    seen = events is not None and events.observed_by is ObservedBy.SUPERVISOR and events.value not in (0, None)
    against = (record.observations.get(name) for name in ("answers.contradictions", "replay.disagreements"))
    return seen or unusable_by(record) is not None or any(one is not None and bool(one.value) for one in against)
