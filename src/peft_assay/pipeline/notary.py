"""Sign entries of the ledger as they are written, and check that all entries were signed."""

from collections.abc import Iterable, Iterator

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.protocols import Sealer
from peft_assay.store.audit import Audit, Since
from peft_assay.store.ledger import Kind
from peft_assay.store.workspace import Notary, Witness
from peft_assay.trust.anchor import TrustAnchor, TrustAnchorLocation
from peft_assay.trust.checkpoints import Checkpoint, checkpoint_document, open_checkpoint
from peft_assay.trust.envelope import open_linked
from peft_assay.trust.highwater import Mark
from peft_assay.trust.roles import CHECKPOINT, Role
from peft_assay.trust.sealer import load_sealer

UNDECIDING = frozenset({Kind.ACTIVATED, Kind.ADMITTED, Kind.ATTEMPT, Kind.REFUSED})
"""Kinds of entries without effect on decisions: a gate without keys writes the first, a run without keys the others."""


def notary_of(location: TrustAnchorLocation, anchor: TrustAnchor) -> Notary:
    """Return a function that signs with the first pinned key at hand, looked for when the first entry is written."""
    found: list[Sealer | None] = []

    def sign(workspace: str, size: int, root: Digest) -> bytes | None:
        if not found:
            found.append(next(_at_hand(location, anchor), None))
        return None if found[0] is None else found[0].seal(checkpoint_document(Checkpoint(workspace, size, root)))

    return sign


def witness_of(anchor: TrustAnchor) -> Witness:
    """Return a check, run before an entry is signed, that pinned keys signed all entries since the ledger was read
    whole.

    Else an unsigned entry that is written while a long run goes on would be signed by the run's own next entry.
    """

    def check(workspace: str, found: Since) -> None:
        if found.checkpoint is not None:
            _check_checkpoint(found.checkpoint, anchor, Checkpoint(workspace, found.attested, found.attested_root))
        _check_unattested(found.unattested)

    return check


def _at_hand(location: TrustAnchorLocation, anchor: TrustAnchor) -> Iterator[Sealer]:
    for role in (Role.AUTHORITY, Role.SANDBOX, Role.APPROVER):
        try:
            sealer = load_sealer(location.folder / "keys", role)
        except TrustError:
            continue
        if sealer.keyid in {key.keyid for key in anchor.keys_of(role)}:
            yield sealer


def check_attested(workspace: str, audited: Audit, anchor: TrustAnchor, mark: Mark | None) -> bool:
    """Return whether the ledger carries a signed checkpoint; raises TrustError for one that is not about this ledger.

    After the last checkpoint only entries without effect on decisions may stand. A checkpoint by a key that is no
    longer pinned counts up to the entry that the mark vouches for. A ledger of an earlier version has no checkpoint at
    all; once one was seen, the mark misses it.
    """
    if audited.checkpoint is None:
        return False
    where = f"ledger entry {audited.attested}"
    keys = [key for role in Role for key in anchor.keys_of(role)]
    vouched = mark is not None and mark.attested and mark.ledger_size >= audited.attested
    signed_by = open_linked(
        audited.checkpoint, sha256(audited.checkpoint), predicate_type=CHECKPOINT, where=where
    ).keyids
    if not vouched or {key.keyid for key in keys} & set(signed_by):
        _check_checkpoint(audited.checkpoint, anchor, Checkpoint(workspace, audited.attested, audited.attested_root))
    _check_unattested(enumerate(audited.unattested, start=audited.attested + 1))
    return True


def _check_checkpoint(envelope: bytes, anchor: TrustAnchor, expected: Checkpoint) -> None:
    where = f"ledger entry {expected.size}"
    keys = [key for role in Role for key in anchor.keys_of(role)]
    if open_checkpoint(envelope, keys, where=where) != expected:
        raise TrustError("the ledger up to here is not the one that was signed", where=where, next_step=_RESTORE)


def _check_unattested(entries: Iterable[tuple[int, Kind]]) -> None:
    for number, kind in entries:
        if kind not in UNDECIDING:
            raise TrustError(
                f"it is of kind {kind.value} and is not signed", where=f"ledger entry {number}", next_step=_RESTORE
            )


_RESTORE = "find out who wrote the workspace, and put the whole .peft-assay folder back from a copy"
