"""Revocation lists and lifts, written and read.

A list carries every withdrawal that was ever made and every lift; the entries in force are computed from both. A
withdrawal is a hold: it leaves force only by a lift that an approver signed over exactly that entry, and it never
leaves the list. A reversal ends the certificates that were issued before it, and no later one: a new PASS needs no
lift.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.certificate import Function, Reversal, Revocation, RevocationList, Scope
from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.statement import REVOCATIONS, Statement
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.roles import LIFT
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import FullDigest, Instant, Wire, read_predicate


@dataclass(frozen=True, slots=True)
class RevocationRecord:
    """A view of one verified revocation list, with its history."""

    list: RevocationList
    """What the gate needs: the withdrawals in force."""
    entries: tuple[Revocation, ...]
    """Every withdrawal ever made, oldest first."""
    lifts: tuple[bytes, ...]
    """The lift envelopes, as carried."""
    lifted: tuple[Revocation, ...]
    """Entries that a verified lift took out of force."""
    previous: Digest | None
    """Envelope of the list before this one; None for the first."""
    merged: tuple[Digest, ...] = ()
    """Last lists of other histories, whose entries this one has too."""

    @property
    def reversals(self) -> tuple[Reversal, ...]:
        """Return every reversal ever signed, oldest first."""
        return self.list.reversals


class _Function(Wire):
    digest: FullDigest
    fingerprint: FullDigest | None


class _Revocation(Wire):
    scope: Scope = Field(strict=False)
    target: str
    reason: str = Field(min_length=1)
    at: Instant
    function: _Function | None = None


class _Lift(Wire):
    envelope: str


class _Reversal(Wire):
    artifact: FullDigest
    lock: FullDigest
    outcome: Literal["FAIL", "INDETERMINATE"]
    at: Instant


class _List(Wire):
    sequence: int = Field(ge=1)
    issuedAt: Instant
    notAfter: Instant
    previous: FullDigest | None
    revocations: list[_Revocation]
    lifts: list[_Lift]
    merged: list[FullDigest] = Field(default=[])
    reversals: list[_Reversal] = Field(default=[])
    fingerprints: list[str] = Field(default=[])


class _LiftPredicate(Wire):
    revocation: _Revocation
    reason: str = Field(min_length=1)
    at: Instant


def check_target(revocation: Revocation) -> None:
    """Raises ValueError unless the target is a full digest (a full key id for KEY): a shortened one revokes nothing."""
    if revocation.scope is Scope.KEY:
        parse_digest("sha256:" + revocation.target)
    else:
        parse_digest(revocation.target)


def revocation_document(revocation: Revocation) -> dict[str, Any]:
    """Return one entry as it stands in a list; without a function it is written as in earlier versions."""
    document: dict[str, Any] = {
        "scope": revocation.scope.value,
        "target": revocation.target,
        "reason": revocation.reason,
        "at": format_time(revocation.at),
    }
    if revocation.function is not None:
        function = revocation.function
        document["function"] = {"digest": function.digest, "fingerprint": function.fingerprint}
    return document


def _reversal_document(reversal: Reversal) -> dict[str, str]:
    return {
        "artifact": reversal.artifact,
        "lock": reversal.lock,
        "outcome": reversal.outcome,
        "at": format_time(reversal.at),
    }


def revocation_id(revocation: Revocation) -> Digest:
    """Digest of the entry: what a lift is about, so that it lifts no later withdrawal of the same target."""
    return canonical_digest(revocation_document(revocation))


def lift_document(revocation: Revocation, *, reason: str, at: datetime) -> dict[str, Any]:
    """The statement that an approver seals to lift `revocation`."""
    predicate = {"revocation": revocation_document(revocation), "reason": reason, "at": format_time(at)}
    return statement_document("revocation", hex_of(revocation_id(revocation)), LIFT, predicate)


def open_lift(envelope: bytes, approvers: Sequence[PublicKey], *, where: str = "lift") -> tuple[Revocation, str]:
    """(entry lifted, approver's key id) of a lift signed by a pinned approver; raises TrustError otherwise."""
    statement = open_envelope(envelope, approvers, predicate_type=LIFT, where=where)
    revocation = _entry(read_predicate(_LiftPredicate, statement.predicate, where=where).revocation, where)
    if revocation_id(revocation) != statement.subject:
        raise TrustError("the lift's subject is not the entry it carries", where=where)
    return revocation, statement.keyids[0]


def revocations_document(
    *,
    sequence: int,
    issued_at: datetime,
    not_after: datetime,
    previous: Digest | None,
    entries: Sequence[Revocation],
    lifts: Sequence[bytes],
    merged: Sequence[Digest] = (),
    reversals: Sequence[Reversal] = (),
    fingerprints: Sequence[bytes] = (),
) -> dict[str, Any]:
    """Return the statement of a revocation list; its subject is the digest of its own predicate.

    An empty field that earlier versions do not know is left out, so that they can read the list.
    """
    predicate: dict[str, Any] = {
        "sequence": sequence,
        "issuedAt": format_time(issued_at),
        "notAfter": format_time(not_after),
        "previous": previous,
        "revocations": [revocation_document(entry) for entry in entries],
        "lifts": [{"envelope": base64.b64encode(lift).decode("ascii")} for lift in lifts],
    }
    if merged:
        predicate["merged"] = list(merged)
    if reversals:
        predicate["reversals"] = [_reversal_document(reversal) for reversal in reversals]
    if fingerprints:
        predicate["fingerprints"] = [base64.b64encode(content).decode("ascii") for content in fingerprints]
    return statement_document("revocations", hex_of(canonical_digest(predicate)), REVOCATIONS, predicate)


def revocation_record_of(
    statement: Statement, approvers: Sequence[PublicKey], *, where: str = "revocation list"
) -> RevocationRecord:
    """The list that these verified bytes are, with lifts applied.

    A lift that does not verify, or whose approver's key is itself withdrawn, lifts nothing. Raises TrustError when the
    predicate is malformed.
    """
    if statement.predicate_type != REVOCATIONS:
        raise TrustError(f"not a revocation list: {statement.predicate_type!r}", where=where)
    wire = read_predicate(_List, statement.predicate, where=where)
    if canonical_digest(dict(statement.predicate)) != statement.subject:
        raise TrustError("the subject is not the list's own digest", where=where)
    if wire.notAfter <= wire.issuedAt:
        raise TrustError("it ends before it begins", where=where)
    entries = tuple(_entry(item, where) for item in wire.revocations)
    lifts = tuple(_decoded(item.envelope, "a lift", where) for item in wire.lifts)
    lifted = _lifted(entries, lifts, approvers)
    in_force = tuple(entry for entry in entries if entry not in lifted)
    return RevocationRecord(
        list=RevocationList(
            envelope=statement.envelope,
            sequence=wire.sequence,
            issued_at=wire.issuedAt,
            not_after=wire.notAfter,
            revocations=in_force,
            keyid=statement.keyids[0],
            reversals=tuple(
                Reversal(parse_digest(item.artifact), parse_digest(item.lock), item.outcome, item.at)
                for item in wire.reversals
            ),
            fingerprints=_fingerprints(wire, in_force, where),
        ),
        entries=entries,
        lifts=lifts,
        lifted=lifted,
        previous=None if wire.previous is None else parse_digest(wire.previous),
        merged=tuple(map(parse_digest, wire.merged)),
    )


def _lifted(
    entries: tuple[Revocation, ...], lifts: tuple[bytes, ...], approvers: Sequence[PublicKey]
) -> tuple[Revocation, ...]:
    withdrawn = {entry.target for entry in entries if entry.scope is Scope.KEY}
    found = []
    for lift in lifts:
        try:
            entry, keyid = open_lift(lift, approvers)
        except TrustError:
            continue  # the entry stays in force, which is the safe side
        if keyid not in withdrawn and entry in entries:
            found.append(entry)
    return tuple(found)


def _fingerprints(wire: _List, in_force: Sequence[Revocation], where: str) -> Mapping[Digest, bytes]:
    """Return the fingerprints that entries in force name; raises TrustError where one of them is not in the list."""
    carried = {sha256(found): found for text in wire.fingerprints for found in [_decoded(text, "a fingerprint", where)]}
    named = {entry.function.fingerprint for entry in in_force if entry.function is not None} - {None}
    if not named <= carried.keys():
        raise TrustError("a withdrawal in force names a fingerprint that the list does not carry", where=where)
    return {digest: content for digest, content in carried.items() if digest in named}


def _entry(wire: _Revocation, where: str) -> Revocation:
    function = None
    if wire.function is not None:
        taken = wire.function.fingerprint
        function = Function(parse_digest(wire.function.digest), None if taken is None else parse_digest(taken))
    revocation = Revocation(wire.scope, wire.target, wire.reason, wire.at, function)
    try:
        check_target(revocation)
    except ValueError as error:
        raise TrustError(str(error), where=where) from None
    return revocation


def _decoded(text: str, what: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise TrustError(f"{what} is not base64", where=where) from None
