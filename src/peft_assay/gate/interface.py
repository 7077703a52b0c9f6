"""What the gate is given, and what it says check by check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from peft_assay.core.artifact import Artifact
from peft_assay.core.context import DeploymentContext, Lock
from peft_assay.core.digest import Digest
from peft_assay.trust.highwater import Mark


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the gate looks at. Bytes are taken as found; whatever an index claims about them is proved anew."""

    artifact: Artifact
    """What is asked for: the manifest of the adapter as it was admitted."""
    files: Mapping[str, bytes]
    """The bytes at hand, by path: exactly these would be loaded."""
    lock: Lock
    """Recomputed from the deployment as it is now."""
    context: DeploymentContext
    """Its age, isolation and production flag can only tighten the anchor's."""
    base_state: Digest
    """Recomputed from the base at hand."""
    certificates: tuple[bytes, ...]
    """Certificate envelopes that the store holds for (artifact, lock), newest first."""
    observations: Mapping[Digest, bytes]
    """Observation envelopes by the digest under which they were fetched."""
    revocations: bytes | None
    """The newest revocation list's envelope."""
    mark: Mark | None
    """This host's high-water mark; None on first use."""
    process_id: int
    """The process that the permission is for."""
    lists: Mapping[Digest, bytes] = field(default_factory=dict)
    """Earlier revocation lists by digest: those between the marked one and the newest, so that each step is checked."""
    waivers: Mapping[Digest, bytes] = field(default_factory=dict)
    """Waiver envelopes that were not withdrawn, by the digest under which they were fetched."""
    last_said: str | None = None
    """The last verdict about (artifact, lock) in the ledger; only for the message of a missing certificate. A
    certificate ends by the signed reversal in the revocation list."""
    earlier: frozenset[Digest] = frozenset()
    """Certificates of this artifact in any context: a hold on one of them is not lifted by certifying again."""
    other_locks: tuple[Digest, ...] = ()
    """Contexts for which the store holds certificates of this artifact; only for the message."""
    other_artifacts: tuple[Digest, ...] = ()
    """Artifacts from the same source that are certified; only for the message."""


class State(StrEnum):
    """What became of one check."""

    HELD = "held"
    FAILED = "failed"
    NOT_REACHED = "notReached"


class Denial(StrEnum):
    """Which error a failed check is raised as."""

    TRUST = "trust"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Check:
    """One numbered check of the procedure in `gate.authorize`."""

    number: int
    name: str
    state: State
    message: str
    """What was established, or why it failed (may quote hostile text; escape to show)."""
    next_step: str | None
    denial: Denial | None
    """Given exactly for FAILED."""
