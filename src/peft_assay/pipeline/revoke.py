"""`revoke`: withdraw an adapter, certificate, weights, policy, suite, base or key; or lift such a hold."""

from collections.abc import Sequence
from dataclasses import dataclass

from peft_assay.certify.revoke import next_list
from peft_assay.core.certificate import Revocation, RevocationList, Scope
from peft_assay.core.errors import UsageError
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.subject import Subject, Taken, subject_of, take
from peft_assay.pipeline.touched import Touched, touched
from peft_assay.trust.recognition import recognised
from peft_assay.trust.revocations import RevocationRecord, lift_document, revocation_id
from peft_assay.trust.roles import Role
from peft_assay.trust.withdrawals import lifting_function


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What an act of revoking changed."""

    list: RevocationList
    entry: Revocation | None
    """The entry added or lifted; None for a refresh."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A withdrawal that is about to be signed, and the objects that it would touch."""

    subject: Subject
    taken: Taken
    touched: Touched


def intend(deployment: Deployment, scope: Scope, target: str, *, clock: Clock) -> Intent:
    """Return the effect that withdrawing `target` would have; nothing is signed. `target` is a folder, archive or alias
    (scopes adapter and weights), a digest, or a key id.
    """
    now = clock()
    deployment.begin(now)
    subject = subject_of(deployment, scope, target)
    record = deployment.revocations()
    carried = 0 if record is None else sum(map(len, record.list.fingerprints.values()))
    taken = take(subject, carried)
    return Intent(subject, taken, touched(deployment, subject, taken, now))


def revoke(deployment: Deployment, intent: Intent, *, reason: str, clock: Clock) -> Withdrawal:
    """Add the entry that `intent` describes."""
    now = clock()
    entry = Revocation(intent.subject.scope, intent.subject.target, reason, now, intent.taken.function)
    sealer = deployment.sealer(Role.AUTHORITY)
    prints = [] if intent.taken.fingerprint is None else [intent.taken.fingerprint]

    def following(previous: RevocationRecord | None, others: Sequence[RevocationRecord]) -> bytes:
        return next_list(previous, merge=others, now=now, sealer=sealer, revoke=[entry], fingerprints=prints)

    record = deployment.publish(following, now)
    deployment.raise_mark(now)
    return Withdrawal(record.list, entry)


def refresh(deployment: Deployment, *, clock: Clock) -> Withdrawal:
    """Sign the list anew, unchanged: it must be fresh for anything to be active. Lists beside it are merged."""
    now = clock()
    deployment.begin(now)
    record = deployment.publish(deployment.refreshed(now), now)
    deployment.raise_mark(now)
    return Withdrawal(record.list, None)


def lift(deployment: Deployment, scope: Scope, target: str, *, reason: str, clock: Clock) -> Withdrawal:
    """Takes entries out of force, with a lift signed by the approver. Raises UsageError when none is in force."""
    now = clock()
    deployment.begin(now)
    subject = subject_of(deployment, scope, target)
    previous = deployment.revocations()
    named = (scope, subject.target)
    held = [] if previous is None else [e for e in previous.list.revocations if (e.scope, e.target) == named]
    if not held:
        raise UsageError(
            f"nothing is withdrawn for {scope.value} {subject.target}", next_step=_instead(previous, subject)
        )
    approver = deployment.sealer(Role.APPROVER)
    lifts = [approver.seal(lift_document(entry, reason=reason, at=now)) for entry in held]
    approvers = deployment.anchor.keys_of(Role.APPROVER)
    authority = deployment.sealer(Role.AUTHORITY)

    def following(newest: RevocationRecord | None, others: Sequence[RevocationRecord]) -> bytes:
        return next_list(newest, merge=others, now=now, sealer=authority, lift=lifts, approvers=approvers)

    record = deployment.publish(following, now)
    for entry in held:
        deployment.workspace.record_lift(revocation=revocation_id(entry), revocation_list=record.list.envelope, at=now)
    deployment.raise_mark(now)
    return Withdrawal(record.list, held[0])


def _instead(previous: RevocationRecord | None, subject: Subject) -> str:
    """Return the next step where no such withdrawal is in force: the entry that holds the same adapter, if any does."""
    if previous is not None and subject.files is not None:
        try:
            for entry in recognised(previous.list, subject.files):
                return lifting_function(entry)
        except Uncomputable:
            pass
    return "peft-assay revoke --list"
