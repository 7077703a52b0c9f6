"""The main job: admit, observe, evaluate, certify, for one adapter or many with one warmed worker.

The order of things is what makes a certificate honest: intake and static facts first, before anything is instantiated;
then the attempt enters the ledger; then the adapter runs; then its worker is vouched for; then the policy speaks; and
only a PASS is ever signed.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from peft_assay.certify.issue import Withheld, issue
from peft_assay.core.artifact import Artifact
from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import AssayError, Door, IntakeError, ObservationError, told
from peft_assay.core.sandbox import Sandbox
from peft_assay.core.statement import VSA
from peft_assay.core.verdict import OUTCOME_DOORS, Outcome, Verdict
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.pipeline import attempts
from peft_assay.pipeline.candidates import Candidate, take_in
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.forecast import Stand, check_admitted, check_level, check_stand, stand_of
from peft_assay.pipeline.loadable import check_project
from peft_assay.pipeline.observing import Attempted, Observing, unusable_by
from peft_assay.pipeline.project import Project, build_lock
from peft_assay.pipeline.reversals import issued_after, reverse
from peft_assay.pipeline.sources import Located, names_of
from peft_assay.pipeline.waivers import with_waivers
from peft_assay.pipeline.waves import Waves
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.roles import Role

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many adapters are done, and how many there are."""
OpenSandbox = Callable[[Project, int], Sandbox]
"""Opens the sandbox for a project's base, and for that many adapters."""


_NO_RESOURCES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
REPORT = "do not use it, and report this line with the adapter as a bug of peft-assay: it was made for this, or met one"


@dataclass(frozen=True, slots=True)
class Certification:
    """What became of one source."""

    name: str
    source: str
    outcome: Outcome
    door: Door
    refusal: AssayError | None = None
    """The reason why there is no verdict: intake refused it, or observing or judging it failed."""
    artifact: Artifact | None = None
    lock: Lock | None = None
    verdict: Verdict | None = None
    record: ObservationRecord | None = None
    certificate: Digest | None = None
    withheld: Withheld | None = None
    """The reason why a passed adapter is not certified: a hold, or a refusal by the gate."""
    attempts: int = 0
    reused: bool = False
    """The observations were made by an earlier attempt, under the same conditions."""
    waivers: tuple[Waiver, ...] = ()
    """Those that the verdict stands on."""


def certify(
    deployment: Deployment,
    sources: Sequence[Located],
    *,
    open_sandbox: OpenSandbox,
    clock: Clock,
    progress: Progress,
    fresh: bool = False,
) -> tuple[Certification, ...]:
    """Certifies each of `sources`, in order; one result for each.

    `fresh` observes anew even where valid observations exist. Raises AssayError for what concerns all of them
    (documents, trust, storage, a sandbox that does not start); an error of one adapter is in its result, an
    unexpected one too.
    """
    deployment.begin(clock())
    check_project(deployment.project)
    stand = stand_of(deployment, clock())
    check_stand(stand)
    names = names_of(sources)
    done: dict[str, Certification] = {}
    likely = _likely(deployment, sources, fresh=fresh)
    with _opening(open_sandbox, stand, len(sources), likely) as opened:
        intake = [_candidate(deployment, source, name, clock) for source, name in zip(sources, names, strict=True)]
        candidates = [candidate for candidate in intake if isinstance(candidate, Candidate)]
        if candidates:
            progress("starting the sandbox and loading the base", 0, len(candidates))

            def again(candidate: Candidate) -> None:
                progress(f"{candidate.name}, again and by itself", len(done), len(candidates))

            due = _due(deployment, candidates, fresh=fresh)
            run = _Run(deployment, opened(), clock, again, fresh=fresh, due=due)
            for number, candidate in enumerate(candidates):
                progress(candidate.name, number, len(candidates))
                for item in run.certify(candidate):
                    done[item.source] = item
            for item in run.finish():
                done[item.source] = item
    deployment.raise_mark(clock())
    return tuple(item if isinstance(item, Certification) else done[item.source] for item in intake)


def door_of(outcome: Outcome, record: ObservationRecord) -> Door:
    """Return the exit code of the outcome; for an adapter without any usable answer, the code of a failed
    observation.
    """
    undecided = outcome is Outcome.INDETERMINATE and unusable_by(record) is not None
    return Door.UNOBSERVED if undecided else OUTCOME_DOORS[outcome]


def _likely(deployment: Deployment, sources: Sequence[Located], *, fresh: bool) -> int:
    """How many of the sources will be exercised, as far as is known before they are read: those that are new here."""
    return max(1, sum(fresh or not deployment.workspace.admitted_from(source.shown) for source in sources))


def _due(deployment: Deployment, candidates: Sequence[Candidate], *, fresh: bool) -> int:
    """Of how many it is certain that they will be exercised: what was tried before may be reused."""
    artifacts = {candidate.admitted.artifact.digest for candidate in candidates if candidate.unsafe is None}
    return sum(fresh or not deployment.workspace.attempts(artifact) for artifact in artifacts)


@contextmanager
def _opening(open_sandbox: OpenSandbox, stand: Stand, adapters: int, likely: int) -> Iterator[Callable[[], Sandbox]]:
    """Opens the sandbox while adapters are taken in: its attacks and its base need no adapter, and all take a while.

    `likely`: how many of the adapters will be exercised, as far as anybody knows before they are taken in. Gives what
    waits for the sandbox, and raises what went wrong; where nobody waits, because no adapter got so far, nobody is
    told. It is closed in any case.
    """

    def opened() -> Sandbox:
        sandbox = open_sandbox(stand.project, adapters)
        try:
            check_level(sandbox, stand)
            sandbox.expect(likely)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    with ThreadPoolExecutor(1, "sandbox") as thread:
        opening = thread.submit(opened)
        try:
            yield opening.result
        finally:
            if opening.exception() is None:
                opening.result().close()


def _candidate(deployment: Deployment, source: Located, name: str, clock: Clock) -> Candidate | Certification:
    try:
        return take_in(deployment, source, name, clock)
    except IntakeError as refusal:
        return Certification(name, source.shown, Outcome.REFUSED, Door.REFUSED, refusal=refusal)
    except AssayError:
        raise
    except Exception as error:
        if _of_the_machine(error):
            raise
        return _unobserved(name, source.shown, "looking at it", error)


def _of_the_machine(error: Exception) -> bool:
    """Return whether `error` says that this machine has no room or resources left, which no adapter is blamed for."""
    return isinstance(error, OSError) and error.errno in _NO_RESOURCES


def _unobserved(name: str, source: str, doing: str, error: Exception) -> Certification:
    """Return the result for an adapter on which something failed unexpectedly."""
    refusal = ObservationError(f"{doing} failed: {told(error)}", where=source, next_step=REPORT)
    return Certification(name, source, Outcome.INDETERMINATE, Door.UNOBSERVED, refusal=refusal)


class _Run:
    """What the adapters of a run share."""

    def __init__(
        self,
        deployment: Deployment,
        sandbox: Sandbox,
        clock: Clock,
        again: Callable[[Candidate], None],
        *,
        fresh: bool,
        due: int,
    ) -> None:
        self.deployment = deployment
        self.clock = clock
        self.observing = Observing(deployment, sandbox, clock, fresh=fresh, due=due)
        self._told_again = again
        self._waves = Waves(self.observing, self._again)

    def certify(self, candidate: Candidate) -> Iterator[Certification]:
        """One adapter, and whatever has gone the whole way by then: it has, once its wave is vouched for."""
        attempted = self._attempt(candidate)
        if self._waves.holds(attempted.artifact):
            yield from self.finish()  # the same bytes once more: what was observed of them is reused
        known = self.observing.earlier(candidate, attempted.lock)
        if known is not None:
            yield self._judge(attempted, known, reused=True)
            return
        for observed, record in self._waves.observe(attempted):
            yield self._judge(observed, record)

    def finish(self) -> Iterator[Certification]:
        """What the last wave brought."""
        for observed, record in self._waves.close():
            yield self._judge(observed, record)

    def _attempt(self, candidate: Candidate) -> Attempted:
        workspace, artifact = self.deployment.workspace, candidate.admitted.artifact
        lock = build_lock(self.deployment.project, self.observing.observed, artifact.digest, candidate.standing)
        workspace.blobs.put(canonical_bytes(lock.document))
        workspace.record_attempt(
            artifact=artifact.digest,
            lock=lock.digest,
            conditions=lock.conditions,
            policy=self.deployment.project.policy.policy.digest,
            at=self.clock(),
        )
        # under any lock, in any workspace of the key: an edit of a policy or README does not restart the count
        return Attempted(candidate, attempts.begin(self.deployment, candidate, lock.digest, self.clock()), lock)

    def _again(self, attempted: Attempted) -> Attempted:
        self._told_again(attempted.candidate)
        return self._attempt(attempted.candidate)

    def _judge(self, attempted: Attempted, record: ObservationRecord, *, reused: bool = False) -> Certification:
        """Judge one adapter; an unexpected error voids this adapter alone."""
        try:
            return self._judged(attempted, record, reused=reused)
        except AssayError:
            raise
        except Exception as error:
            if _of_the_machine(error):
                raise
            candidate = attempted.candidate
            return _unobserved(candidate.name, candidate.source, "judging it", error)

    def _judged(self, attempted: Attempted, record: ObservationRecord, *, reused: bool) -> Certification:
        """The policy's answer to what was observed, and a certificate where it passes."""
        workspace, policy = self.deployment.workspace, self.deployment.project.policy
        candidate, lock, attempt = attempted.candidate, attempted.lock, attempted.number
        judged = evaluate(policy, record.observations, lock.digest)
        now = self.clock()
        verdict, waivers = with_waivers(self.deployment, policy, judged, lock, now)
        reverse(self.deployment, verdict, now)  # first: a run that is killed here leaves no certificate in force
        written = self.deployment.project.policy_document
        workspace.record_verdict(verdict, policy=written, observations=record.envelope, at=now)
        attempts.conclude(self.deployment, attempted.counted.id, verdict.outcome, reused=reused)
        certificate, withheld = None, None
        if verdict.outcome is Outcome.PASS:
            try:
                certificate = self._issue(candidate, verdict, record, attempt, lock, waivers)
            except Withheld as hold:
                withheld = hold
        else:
            workspace.record_denial(verdict, at=self.clock())
        outcome = verdict.outcome if withheld is None else Outcome.WITHHELD
        return Certification(
            candidate.name,
            candidate.source,
            outcome,
            door_of(outcome, record),
            artifact=candidate.admitted.artifact,
            lock=lock,
            verdict=verdict,
            record=record,
            certificate=certificate,
            withheld=withheld,
            attempts=attempt,
            reused=reused,
            waivers=waivers,
        )

    def _lifetime(self, candidate: Candidate, record: ObservationRecord) -> timedelta:
        """Return the lifetime that context and anchor allow, shortened to that of each clearance that the certificate
        rests on.
        """
        longest = self.deployment.maximum_age
        until = candidate.cleared_until
        return longest if until is None else min(longest, until - record.started_at)

    def _issue(
        self,
        candidate: Candidate,
        verdict: Verdict,
        record: ObservationRecord,
        attempts: int,
        lock: Lock,
        waivers: Sequence[Waiver],
    ) -> Digest:
        workspace, artifact = self.deployment.workspace, candidate.admitted.artifact
        now = issued_after(self.deployment, verdict, self.clock())
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
            files=workspace.files(artifact),
            sealer=self.deployment.sealer(Role.AUTHORITY),
            waivers=waivers,
        )
        certificate = certificate_of(open_envelope(envelope, keys, predicate_type=VSA))
        check_admitted(self.deployment, envelope, artifact, lock, record, now)
        return workspace.certify(
            envelope,
            artifact=artifact.digest,
            lock=lock.digest,
            policy=verdict.policy,
            issued_at=certificate.issued_at,
            not_after=certificate.not_after,
            at=now,
        )
