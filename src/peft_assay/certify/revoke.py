"""Revoking: the next signed list from the one before it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from peft_assay.core.certificate import Reversal, Revocation
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.core.protocols import Sealer
from peft_assay.trust.highwater import CLOCK_TOLERANCE
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.revocations import RevocationRecord, check_target, open_lift, revocations_document
from peft_assay.trust.times import whole_seconds

VALIDITY = timedelta(days=7)


def next_list(
    previous: RevocationRecord | None,
    *,
    now: datetime,
    sealer: Sealer,
    revoke: Sequence[Revocation] = (),
    lift: Sequence[bytes] = (),
    reverse: Sequence[Reversal] = (),
    merge: Sequence[RevocationRecord] = (),
    approvers: Sequence[PublicKey] = (),
    fingerprints: Sequence[bytes] = (),
    validity: timedelta = VALIDITY,
) -> bytes:
    """Return the envelope of the list after `previous` (None: the first), with `revoke` added and `lift` (envelopes)
    applied.

    It also has all entries of the lists in `merge`; with nothing to add it is a refresh. `fingerprints` are those
    that `revoke` names; those of entries that stay in force are carried on. Raises UsageError for a target that is not
    a full digest or key id, TrustError for a lift that no pinned approver signed, or whose entry is not in force, and
    for a clock behind the previous list.
    """
    if validity <= timedelta(0):
        raise UsageError("a list is valid longer than nothing")
    issued_at = whole_seconds(now)
    before = (*(() if previous is None else (previous,)), *merge)
    latest = max((record.list.issued_at for record in before), default=issued_at)
    if issued_at + CLOCK_TOLERANCE < latest:
        raise TrustError("the clock is behind the newest revocation list", next_step="correct the clock")
    issued_at = max(issued_at, latest)  # a caller that waited for another process to sign read the clock before that
    in_force = [entry for record in before for entry in record.list.revocations]
    lifted = [open_lift(envelope, approvers)[0] for envelope in lift]
    for entry in lifted:
        if entry not in in_force:
            raise TrustError("the lift is for a withdrawal that is not in force", where=entry.target)
    kept = {entry.function.fingerprint for entry in in_force if entry not in lifted and entry.function is not None}
    carried = {digest: content for record in before for digest, content in record.list.fingerprints.items()}
    return sealer.seal(
        revocations_document(
            sequence=1 if previous is None else previous.list.sequence + 1,
            issued_at=issued_at,
            not_after=issued_at + validity,
            previous=None if previous is None else previous.list.envelope,
            entries=(*_each(before, "entries"), *(_checked(entry, issued_at) for entry in revoke)),
            lifts=(*_each(before, "lifts"), *lift),
            merged=tuple(record.list.envelope for record in merge),
            reversals=(*_each(before, "reversals"), *reverse),
            fingerprints=(*(content for digest, content in carried.items() if digest in kept), *fingerprints),
        )
    )


def _each(records: Sequence[RevocationRecord], what: str) -> tuple[Any, ...]:
    """Return all records of this kind: those of the first list unchanged, then those that the other lists add."""
    found: list[Any] = []
    for number, record in enumerate(records):
        found += [item for item in getattr(record, what) if number == 0 or item not in found]
    return tuple(found)


def _checked(entry: Revocation, issued_at: datetime) -> Revocation:
    try:
        check_target(entry)
    except ValueError as error:
        raise UsageError(str(error), where=f"revocation of {entry.scope.value}") from None
    at = whole_seconds(entry.at)
    if not entry.reason.strip() or at > issued_at:
        raise UsageError("a withdrawal has a reason and is not dated in the future", where=entry.target)
    return Revocation(entry.scope, entry.target, entry.reason, at, entry.function)
