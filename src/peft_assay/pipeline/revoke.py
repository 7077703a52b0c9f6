"""`revoke`: withdraw an adapter, certificate, weights, policy, suite, base or key; or lift such a hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from peft_assay.certify.revoke import next_list
from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.certificate import Revocation, RevocationList, Scope
from peft_assay.core.errors import UsageError
from peft_assay.intake.admit import admit
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Project, resolve_source
from peft_assay.trust.revocations import RevocationRecord, check_target, lift_document, revocation_id
from peft_assay.trust.roles import Role

_WRITTEN = {
    Scope.SUITE: "see the digest of each suite: peft-assay suite lint --format json",
    Scope.KEY: "see the key ids in trust.yaml",
}
"""Where somebody finds what a scope takes."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What an act of revoking changed."""

    list: RevocationList
    entry: Revocation | None
    """The entry added or lifted; None for a refresh."""


def revoke(deployment: Deployment, scope: Scope, target: str, *, reason: str, clock: Clock) -> Withdrawal:
    """Adds one entry. `target` is a folder, archive or alias (scopes adapter and weights), a digest, or a key id."""
    now = clock()
    deployment.begin(now)
    entry = Revocation(scope, resolve_target(deployment.project, scope, target), reason, now)
    sealer = deployment.sealer(Role.AUTHORITY)

    def following(previous: RevocationRecord | None, others: Sequence[RevocationRecord]) -> bytes:
        return next_list(previous, merge=others, now=now, sealer=sealer, revoke=[entry])

    record = deployment.publish(following, now)
    deployment.raise_mark(now)
    return Withdrawal(record.list, entry)


def refresh(deployment: Deployment, *, clock: Clock) -> Withdrawal:
    """Signs the list anew, unchanged: it must be fresh for anything to be active. Lists beside it are merged."""
    now = clock()
    deployment.begin(now)
    record = deployment.publish(deployment.refreshed(now), now)
    deployment.raise_mark(now)
    return Withdrawal(record.list, None)


def lift(deployment: Deployment, scope: Scope, target: str, *, reason: str, clock: Clock) -> Withdrawal:
    """Takes entries out of force, with a lift signed by the approver. Raises UsageError when none is in force."""
    now = clock()
    deployment.begin(now)
    resolved = resolve_target(deployment.project, scope, target)
    previous = deployment.revocations()
    held = (
        [] if previous is None else [e for e in previous.list.revocations if (e.scope, e.target) == (scope, resolved)]
    )
    if not held:
        raise UsageError(f"nothing is withdrawn for {scope.value} {resolved}", next_step="peft-assay revoke --list")
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


def resolve_target(project: Project, scope: Scope, target: str) -> str:
    """A digest or key id for `target`; a path or alias is admitted and hashed for the scopes where that makes sense.

    Raises UsageError for what is none of these, IntakeError for a path that cannot become an artifact.
    """
    if scope not in (Scope.ADAPTER, Scope.WEIGHTS) or target.startswith("sha256:"):
        _check_name(scope, target)
        return target
    path = resolve_source(project, target)
    if not path.exists():
        raise UsageError(
            "there is no adapter here: name its folder, archive, alias or full digest",
            where=target,
            next_step="see the digest of each that was judged: peft-assay policy explain --format json",
        )
    artifact = admit(path).artifact
    if scope is Scope.ADAPTER:
        return artifact.digest
    weights = artifact.file(WEIGHTS_FILE)
    if weights is None:
        raise UsageError(f"it has no {WEIGHTS_FILE}", where=target, next_step="revoke it with --scope adapter")
    return weights.sha256


def _check_name(scope: Scope, target: str) -> None:
    """Raises UsageError for what can be no digest or key id, saying where the right one stands."""
    try:
        check_target(Revocation(scope, target, "-", datetime.min.replace(tzinfo=UTC)))
    except ValueError:
        raise UsageError(
            f"--scope {scope.value} takes {'a key id' if scope is Scope.KEY else 'a full digest: sha256:...'}",
            where=target,
            next_step=_WRITTEN.get(scope, "see it in the certificate: peft-assay verify --format json SOURCE"),
        ) from None
