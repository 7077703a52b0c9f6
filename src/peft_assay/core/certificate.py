"""Certificates, revocations and activations: views of verified bytes, and the gate's permission."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from peft_assay.core.context import Beyond
from peft_assay.core.digest import Digest
from peft_assay.core.errors import ActivationDenied


@dataclass(frozen=True, slots=True)
class Certificate:
    """Certification of (artifact, context, policy, observations); only `trust` makes one, from verified bytes."""

    envelope: Digest
    artifact: Digest
    lock: Digest
    policy: Digest
    observations: tuple[Digest, ...]
    """Envelope digests of the observations it rests on; never empty."""
    observed_at: datetime
    """Start of the oldest observation: age counts from here (UTC)."""
    issued_at: datetime
    not_after: datetime
    keyid: str
    """Key of the authority that signed it."""
    waivers: Mapping[str, Digest] = field(default_factory=dict)
    """Rule -> envelope of the waiver by which what it denies is accepted."""


class Scope(StrEnum):
    """What a revocation withdraws."""

    CERTIFICATE = "certificate"
    ADAPTER = "adapter"
    WEIGHTS = "weights"
    POLICY = "policy"
    SUITE = "suite"
    BASE = "base"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Function:
    """The function of a withdrawn adapter, by which the adapter is recognised in other bytes."""

    digest: Digest
    """See `fingerprint.digest.function_digest`."""
    fingerprint: Digest | None
    """The sha256 of the fingerprint's bytes, which the list carries; None where none could be taken."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One withdrawal; a hold that re-certification does not lift."""

    scope: Scope
    target: str
    """A full digest, or a key id for KEY."""
    reason: str
    at: datetime
    function: Function | None = None
    """None for a subject that is no adapter, for an adapter whose bytes were not at hand, and for a withdrawal from
    before functions were signed."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """A verdict that is not PASS, after a PASS: it ends the certificates of this artifact in this context issued before
    it.
    """

    artifact: Digest
    lock: Digest
    outcome: str
    """FAIL or INDETERMINATE."""
    at: datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """All withdrawals in force, as one signed list. Positive evidence: without a fresh one the gate denies."""

    envelope: Digest
    sequence: int
    """Grows by one with every list; a smaller one than seen before is a rollback."""
    issued_at: datetime
    not_after: datetime
    revocations: tuple[Revocation, ...]
    keyid: str
    reversals: tuple[Reversal, ...] = ()
    fingerprints: Mapping[Digest, bytes] = field(default_factory=dict)
    """The fingerprints that entries in force name, by digest."""

    def reversal_of(self, artifact: Digest, lock: Digest) -> Reversal | None:
        """Return the last reversal about `artifact` in the context `lock`."""
        said = [reversal for reversal in self.reversals if (reversal.artifact, reversal.lock) == (artifact, lock)]
        return max(said, key=lambda reversal: reversal.at, default=None)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Activation:
    """The gate's time-bounded, process-bound permission, carrying the verified bytes. It is not copied or pickled."""

    artifact: Digest
    certificate: Digest
    lock: Digest
    files: Mapping[str, bytes] = field(repr=False)
    """Path -> exactly the bytes that were verified."""
    granted_at: datetime
    not_after: datetime
    process_id: int
    prompt_tokens: int = 0
    """Longest prompt that may be read, in tokens of the base: as declared, or else as tested."""
    answer_tokens: int = 0
    """Longest answer, in the same way."""
    beyond: Beyond = Beyond.WARN
    """The reaction of the governed model to longer prompts and answers."""
    seal: bytes = field(default=b"", repr=False)
    """The seal by which the gate's process recognises it (`trust.capability`)."""

    def __copy__(self) -> NoReturn:
        _refuse_copy()

    def __deepcopy__(self, memo: object) -> NoReturn:
        _refuse_copy()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        _refuse_copy()


def _refuse_copy() -> NoReturn:
    raise ActivationDenied("a permission is not copied", check="permission", next_step="activate it where it is needed")
