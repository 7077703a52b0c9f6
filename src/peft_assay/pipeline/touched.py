"""The objects that a withdrawal touches now, in this workspace: printed before it is signed, because it cannot be taken
back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Revocation, RevocationList, Scope
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import AssayError
from peft_assay.core.parse import parse_json
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.evidence import certificate_in, records_under
from peft_assay.pipeline.subject import OF_ADAPTERS, Subject, Taken, certified_by
from peft_assay.store.ledger import Kind
from peft_assay.trust.times import parse_time
from peft_assay.trust.withdrawals import Certifiable, touching


@dataclass(frozen=True, slots=True)
class Touched:
    """The objects that a withdrawal touches."""

    names: tuple[str, ...]
    """Adapters that were admitted here, by their source."""
    alike: tuple[str, ...]
    """Those among them with other bytes and the same function."""
    near: tuple[str, ...]
    """Adapters with almost the same function: the policy decides about them when they are certified again."""
    certificates: tuple[Digest, ...]
    """Certificates that end with it."""
    activations: int
    """Permissions of the gate that have not ended yet."""
    pinned: bool
    """Whether the trust anchor pins the key that it names."""
    given: bool
    """Whether the adapter itself was named, by its place."""
    warning: str | None
    """Signs of a mistake."""

    @property
    def nothing(self) -> bool:
        """Whether nothing here has to do with it."""
        return not (self.names or self.certificates or self.activations or self.pinned or self.given)


def touched(deployment: Deployment, subject: Subject, taken: Taken, now: datetime) -> Touched:
    """Return the objects that a withdrawal of `subject` touches; raises TrustError when the ledger was altered."""
    workspace = deployment.workspace
    happened = [(entry.kind, entry.happened) for entry in workspace.history()]
    named, alike, near = _adapters(deployment, subject, taken, now)
    entry = Revocation(subject.scope, subject.target, "-", now)
    held = {*named, *alike}
    certificates = [
        parse_digest(what["envelope"])
        for kind, what in happened
        if kind is Kind.CERTIFIED and (what["artifact"] in held or _touches(deployment, entry, what))
    ]
    activated = [what for kind, what in happened if kind is Kind.ACTIVATED and what.get("certificate") in certificates]
    lasting = [what for what in activated if _lasts(what.get("notAfter"), now)]
    sources = workspace.sources()
    return Touched(
        names=_names(sources, held),
        alike=_names(sources, alike),
        near=_names(sources, near),
        certificates=tuple(dict.fromkeys(certificates)),
        activations=len(lasting),
        pinned=subject.scope is Scope.KEY and _is_pinned(deployment, subject.target),
        given=subject.given,
        warning=_warning(deployment, subject),
    )


def _lasts(until: object, now: datetime) -> bool:
    """Whether an activation lasts still; its entry is unsigned, and nothing that it holds may stop a withdrawal."""
    try:
        return parse_time(str(until)) > now
    except ValueError:
        return True


def _names(sources: Mapping[Digest, str], artifacts: set[Digest]) -> tuple[str, ...]:
    return tuple(sorted({sources[artifact] for artifact in artifacts}))


def _adapters(
    deployment: Deployment, subject: Subject, taken: Taken, now: datetime
) -> tuple[set[Digest], set[Digest], set[Digest]]:
    """Return the admitted adapters: (named by it, with the same function in other bytes, with a near function)."""
    named: set[Digest] = set()
    alike: set[Digest] = set()
    near: set[Digest] = set()
    if subject.scope not in OF_ADAPTERS:
        return named, alike, near
    certified = set(certified_by(deployment, subject.target)) if subject.scope is Scope.CERTIFICATE else set()
    for digest in deployment.workspace.sources():
        artifact = deployment.workspace.artifact(digest)
        if artifact is None:
            continue
        if digest == subject.target or digest in certified or any(f.sha256 == subject.target for f in artifact.files):
            named.add(digest)
        elif (word := _word(deployment, artifact, subject, taken, now)) is not None:
            (alike if word == "equal" else near).add(digest)
    return named, alike, near


def _word(deployment: Deployment, artifact: Artifact, subject: Subject, taken: Taken, now: datetime) -> str | None:
    """Return ``equal`` or ``near`` for an adapter that is one of these to the subject."""
    if taken.function is None:
        return None
    from peft_assay.fingerprint.interface import Word
    from peft_assay.trust.recognition import resemblances

    entry = Revocation(subject.scope, subject.target, "-", now, taken.function)
    carried = (
        {}
        if taken.fingerprint is None or taken.function.fingerprint is None
        else {taken.function.fingerprint: taken.fingerprint}
    )
    alone = RevocationList(taken.function.digest, 1, now, now, (entry,), "", fingerprints=carried)
    try:
        words = [word for _, word in resemblances(alone, deployment.workspace.files(artifact))]
    except AssayError:
        return None
    if Word.EQUAL in words:
        return "equal"
    return "near" if words else None


def _touches(deployment: Deployment, entry: Revocation, what: Mapping[str, Any]) -> bool:
    """Return whether `entry` withdraws a part that this certificate rests on."""
    workspace = deployment.workspace
    try:
        artifact = workspace.artifact(parse_digest(what["artifact"]))
        lock = Lock(parse_json(workspace.blobs.get(parse_digest(what["lock"])), where="lock"))
        envelope = workspace.blobs.get(parse_digest(what["envelope"]))
        keyids = frozenset({certificate_in(deployment, envelope).keyid, *_observers(deployment, envelope)})
    except AssayError:  # a certificate that cannot be read any more admits nothing either
        return bool(what["envelope"] == entry.target)
    if artifact is None:
        return False
    certificates = frozenset({str(what["envelope"])})
    return bool(touching([entry], Certifiable(artifact, lock, what["policy"], certificates, keyids)))


def _observers(deployment: Deployment, envelope: bytes) -> Iterator[str]:
    yield from (record.keyid for record, _ in records_under(deployment, envelope))


def _is_pinned(deployment: Deployment, keyid: str) -> bool:
    return any(key.key.keyid == keyid for keys in deployment.anchor.keys.values() for key in keys)


def _warning(deployment: Deployment, subject: Subject) -> str | None:
    if subject.scope is not Scope.CERTIFICATE and certified_by(deployment, subject.target):
        return (
            f"this is the digest of a certificate: --scope certificate withdraws it, --scope {subject.scope.value} not"
        )
    return None
