"""The subject of a withdrawal: the digest that it names and, for an adapter, the bytes that determine its function."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from peft_assay.core.artifact import WEIGHTS_FILE, Artifact
from peft_assay.core.certificate import Function, Revocation, Scope
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.intake.admit import admit, parted
from peft_assay.intake.interface import WHOLE
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.evidence import certificate_in
from peft_assay.pipeline.project import resolve_source
from peft_assay.store.ledger import Kind
from peft_assay.trust.revocations import check_target

OF_ADAPTERS = frozenset({Scope.ADAPTER, Scope.CERTIFICATE, Scope.WEIGHTS})
"""Scopes whose withdrawal covers an adapter's function too."""
MAX_CARRIED = 24 << 20
"""The most bytes of fingerprints in one list: signed and written in base64 twice they stay below the reader's limit."""
_WRITTEN = {
    Scope.SUITE: "see the digest of each suite: peft-assay suite lint --format json",
    Scope.KEY: "see the key ids in trust.yaml",
}
"""The place to find the right name of a scope's target."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A scope, the target in full, and the adapter's files where they are at hand."""

    scope: Scope
    target: str
    files: Mapping[str, bytes] | None = None
    given: bool = False
    """The adapter itself was named, by its place: it exists, even if this workspace never admitted it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The function of an adapter, as far as it could be taken."""

    function: Function | None
    fingerprint: bytes | None
    why: str | None
    """The reason why function or fingerprint are missing; None where both are there, or where the scope has none."""


def subject_of(deployment: Deployment, scope: Scope, target: str) -> Subject:
    """Return the subject of a withdrawal of `target`: a path or alias (adapter, weights), a digest or a key id.

    Raises UsageError for any other text, IntakeError for a path that cannot become an artifact.
    """
    if scope not in (Scope.ADAPTER, Scope.WEIGHTS) or target.startswith("sha256:"):
        _check_name(scope, target)
        return Subject(scope, target, _stored(deployment, scope, target))
    path = resolve_source(deployment.project, target)
    if not parted(path)[0].exists():
        raise UsageError(
            "there is no adapter here: name its folder, archive, alias or full digest",
            where=target,
            next_step="see the digest of each that was judged: peft-assay policy explain --format json",
        )
    admitted = admit(path, hold=WHOLE)
    if scope is Scope.ADAPTER:
        return Subject(scope, admitted.artifact.digest, admitted.files, given=True)
    weights = admitted.artifact.file(WEIGHTS_FILE)
    if weights is None:
        raise UsageError(f"it has no {WEIGHTS_FILE}", where=target, next_step="revoke it with --scope adapter")
    return Subject(scope, weights.sha256, admitted.files, given=True)


def take(subject: Subject, carried: int) -> Taken:
    """Return the function of the subject's adapter, under a nonce drawn now; `carried` bytes are in the list
    already.
    """
    if subject.scope not in OF_ADAPTERS:
        return Taken(None, None, None)
    if subject.files is None:
        return Taken(None, None, "its bytes are not in this workspace: its function is not recognised in other bytes")
    from peft_assay.core.digest import sha256
    from peft_assay.fingerprint.digest import function_digest
    from peft_assay.fingerprint.fingerprint import take as take_fingerprint
    from peft_assay.fingerprint.fingerprint import to_bytes
    from peft_assay.fingerprint.sketch import NONCE_BYTES

    try:
        digest = function_digest(subject.files)
    except Uncomputable as unknown:
        return Taken(None, None, f"its function cannot be computed: {unknown}")
    try:
        fingerprint = to_bytes(take_fingerprint(subject.files, os.urandom(NONCE_BYTES)))
    except Uncomputable as unknown:
        return Taken(Function(digest, None), None, f"it has no fingerprint, only exact rewritings are known: {unknown}")
    if carried + len(fingerprint) > MAX_CARRIED:
        return Taken(
            Function(digest, None), None, "the list holds no more fingerprints: only exact rewritings are known"
        )
    return Taken(Function(digest, sha256(fingerprint)), fingerprint, None)


def _stored(deployment: Deployment, scope: Scope, target: str) -> Mapping[str, bytes] | None:
    """Return the bytes of the adapter that `target` names, where this workspace has them; None where it has not."""
    if scope not in OF_ADAPTERS:
        return None
    for artifact in _artifacts(deployment, scope, target):
        try:
            return deployment.workspace.files(artifact)
        except TrustError:
            continue
    return None


def _artifacts(deployment: Deployment, scope: Scope, target: str) -> Iterator[Artifact]:
    workspace = deployment.workspace
    if scope is Scope.ADAPTER:
        named = [parse_digest(target)]
    elif scope is Scope.CERTIFICATE:
        named = certified_by(deployment, target)
    else:
        named = list(workspace.sources())
    for digest in named:
        artifact = workspace.artifact(digest)
        if artifact is not None and (
            scope is not Scope.WEIGHTS or any(file.sha256 == target for file in artifact.files)
        ):
            yield artifact


def certified_by(deployment: Deployment, target: str) -> list[Digest]:
    """Return the artifact that the certificate with this envelope digest is for; None where no such certificate is
    here.
    """
    issued = [entry.happened for entry in deployment.workspace.history() if entry.kind is Kind.CERTIFIED]
    if not any(what["envelope"] == target for what in issued):
        return []
    try:
        return [certificate_in(deployment, deployment.workspace.blobs.get(parse_digest(target))).artifact]
    except TrustError:  # it is withdrawn by name in any case
        return []


def _check_name(scope: Scope, target: str) -> None:
    """Raise UsageError for a text that can be no digest or key id, naming where the right one stands."""
    try:
        check_target(Revocation(scope, target, "-", datetime.min.replace(tzinfo=UTC)))
    except ValueError:
        raise UsageError(
            f"--scope {scope.value} takes {'a key id' if scope is Scope.KEY else 'a full digest: sha256:...'}",
            where=target,
            next_step=_WRITTEN.get(scope, "see it in the certificate: peft-assay verify --format json SOURCE"),
        ) from None
