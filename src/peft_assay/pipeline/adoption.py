"""Which rights snapshot an artifact is judged by: the one that was last adopted by a signature.

The ledger's rows only say where the signed adoptions are. Adoptions of earlier versions are unsigned: one of them
counts where a certificate of the artifact names it, by the digest of the lock that the authority signed.
"""

from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.core.parse import parse_json
from peft_assay.core.statement import VSA
from peft_assay.pipeline.deployment import Deployment
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.roles import Role
from peft_assay.trust.snapshots import AdoptedSnapshot, open_snapshot, snapshot_statement


def adopted_snapshot(deployment: Deployment, artifact: Digest) -> Digest | None:
    """Return the adopted rights snapshot of `artifact`, or None.

    Raises TrustError for an adoption that no pinned sandbox key signed, or that is about another artifact.
    """
    rows = deployment.workspace.rights_snapshots(artifact)
    signed = [_opened(deployment, row, artifact) for row in rows if isinstance(row, bytes)]
    if signed:
        return max(signed, key=lambda adopted: adopted.at).snapshot
    unsigned = [row for row in rows if isinstance(row, str)]
    named = _named_by_certificates(deployment, artifact) if unsigned else frozenset()
    return next((row for row in reversed(unsigned) if row in named), None)


def adopt(deployment: Deployment, document: bytes, adopted: AdoptedSnapshot) -> None:
    """Sign and keep that `artifact`'s rights are judged by the snapshot `document` from now on."""
    envelope = deployment.sealer(Role.SANDBOX).seal(snapshot_statement(adopted))
    deployment.workspace.adopt_rights(document, envelope, artifact=adopted.artifact, at=adopted.at)


def _opened(deployment: Deployment, envelope: bytes, artifact: Digest) -> AdoptedSnapshot:
    adopted = open_snapshot(envelope, deployment.anchor.keys_of(Role.SANDBOX))
    if adopted.artifact != artifact:
        where = f"rights snapshot {adopted.snapshot}"
        raise TrustError("it is filed under another adapter than it is about", where=where)
    return adopted


def _named_by_certificates(deployment: Deployment, artifact: Digest) -> frozenset[str]:
    """Return snapshots that stand in the lock of a verified certificate of `artifact`."""
    keys, found = deployment.anchor.keys_of(Role.AUTHORITY), set()
    for certified in deployment.workspace.certified_locks(artifact):
        for envelope in deployment.workspace.certificates(artifact, certified):
            try:
                certificate = certificate_of(open_envelope(envelope, keys, predicate_type=VSA))
                document = parse_json(deployment.workspace.blobs.get(certificate.lock), where="lock")
            except (TrustError, DocumentError):
                continue
            match document:
                case {"rights": {"snapshot": str(snapshot)}} if certificate.artifact == artifact:
                    found.add(snapshot)
    return frozenset(found)
