"""The consumer's own bank: what adapters that are certified here measured, from the observations signed for them.

An adapter counts once, by the newest observation that a certificate of it rests on, while nothing withdraws it. Static
measures are compared on the same base, behavioural ones under the same observation conditions, and both among adapters
of one type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE, Artifact
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.core.observation import Observation, Status
from peft_assay.core.parse import parse_json
from peft_assay.observe.behaviour.interface import Bank
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.evidence import records_under
from peft_assay.store.ledger import Kind
from peft_assay.store.workspace import Workspace
from peft_assay.trust.observations import ObservationRecord

STATIC_MEASURES = ("delta.effective_rank", "delta.largest_norm", "delta.relative_norm", "delta.spectral_share")
BEHAVIOURAL_MEASURES = ("drift.off_task_kl", "scan.excess")


@dataclass(frozen=True, slots=True)
class Member:
    """One observation that a certificate rests on."""

    record: ObservationRecord
    kind: str
    """The adapter's PEFT type."""


def members(deployment: Deployment) -> tuple[Member, ...]:
    """What certificates of this workspace rest on, oldest first, but for adapters that a revocation names.

    Raises TrustError when the ledger was altered; a certificate that cannot be verified any more is left out.
    """
    issued = [entry.happened for entry in deployment.workspace.history() if entry.kind is Kind.CERTIFIED]
    revocations = deployment.revocations() if issued else None
    withdrawn = set() if revocations is None else {entry.target for entry in revocations.list.revocations}
    ended = {what["artifact"] for what in issued if what["envelope"] in withdrawn}
    found = []
    for what in issued:
        for record in _verified(deployment, parse_digest(what["envelope"])):
            named = {record.artifact.digest, *(file.sha256 for file in record.artifact.files)}
            kind = peft_type(deployment.workspace, record.artifact)
            if record.artifact.digest not in ended and not named & withdrawn and kind is not None:
                found.append(Member(record, kind))
    return tuple(found)


def _verified(deployment: Deployment, certificate: Digest) -> tuple[ObservationRecord, ...]:
    try:
        envelope = deployment.workspace.blobs.get(certificate)
        return tuple(record for record, _ in records_under(deployment, envelope))
    except TrustError:
        return ()


def bank_of(
    company: Sequence[Member],
    artifact: Artifact,
    kind: str | None,
    conditions: Mapping[str, Any],
    measured: Sequence[Observation],
) -> Bank:
    """The bank that `artifact` of type `kind` is compared with under `conditions`, itself left out.

    `measured` are its own static observations.
    """
    same = canonical_digest(conditions)
    values: dict[str, dict[Digest, float]] = {}
    for member in company:
        record = member.record
        if record.artifact.digest == artifact.digest or member.kind != kind:
            continue
        alike = canonical_digest(record.conditions) == same
        of_base = STATIC_MEASURES if record.conditions.get("base") == conditions["base"] else ()
        for name in (*of_base, *(BEHAVIOURAL_MEASURES if alike else ())):
            value = _value(record.observations.get(name))
            if value is not None:
                values.setdefault(name, {})[record.artifact.digest] = value  # later ones replace earlier ones
    own = {o.name: value for o in measured if o.name in STATIC_MEASURES and (value := _value(o)) is not None}
    return Bank({name: tuple(found.values()) for name, found in sorted(values.items())}, own)


def peft_type(workspace: Workspace, artifact: Artifact) -> str | None:
    """What the adapter's configuration says it is; None where it says nothing that can be read."""
    file = artifact.file(CONFIG_FILE)
    if file is None or not workspace.blobs.has(file.sha256):
        return None
    try:
        document = parse_json(workspace.blobs.get(file.sha256), where=CONFIG_FILE)
    except DocumentError:
        return None
    named = document.get("peft_type") if isinstance(document, dict) else None
    return named if isinstance(named, str) else None


def _value(observation: Observation | None) -> float | None:
    if observation is None or observation.status is not Status.OK or not isinstance(observation.value, float):
        return None
    return observation.value
