"""The one revocation list of an authority key: kept beside the anchor, carried by every workspace of the key.

Several lists can be known: each pinned key's newest, the one that the workspace carries, the one of its mark. One of
them must continue all the others, or no list here can be trusted. A workspace's list may have begun on its own, as in
workspaces made before lists belonged to keys; where the key's list has all its entries, nothing is lost.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.protocols import BlobStore, RevocationTransport
from peft_assay.core.statement import REVOCATIONS
from peft_assay.trust.anchor import TrustAnchor
from peft_assay.trust.envelope import open_envelope, open_linked
from peft_assay.trust.keyrecords import KeyRecords, KnownList
from peft_assay.trust.revocations import RevocationRecord, revocation_record_of
from peft_assay.trust.roles import Role
from peft_assay.trust.succession import MERGE, ancestors, beginning, check_descent, check_successor, contains, descends

Next = Callable[[RevocationRecord | None, Sequence[RevocationRecord]], bytes]
"""A function that signs the list after the first one given, with all entries of the others."""
WHERE = "revocation list"


@dataclass(frozen=True, slots=True)
class Heads:
    """The lists that no other known list continues: the newest, and those beside it."""

    newest: RevocationRecord | None
    beside: tuple[RevocationRecord, ...] = ()
    contained: tuple[RevocationRecord, ...] = ()
    """Lists with another beginning whose entries the newest has."""


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """The known lists of the pinned authority keys."""

    records: KeyRecords
    transport: RevocationTransport
    blobs: BlobStore
    anchor: TrustAnchor

    @contextmanager
    def settled(self, marked: Digest | None, *, reading: bool = False) -> Iterator[RevocationRecord | None]:
        """Yield the newest list under the records' lock, remembered beside the anchor; None where there is none.

        `marked` is the list of the workspace's mark. With `reading`, records that this user cannot write stay as they
        are. Raises TrustError when the lists that are known do not continue one another.
        """
        with self.records.locked(reading=reading) as writable:
            heads = self.heads(marked)
            for other in heads.beside:
                self._refuse(heads.newest, other)
            yield heads.newest
            if heads.newest is not None and writable:
                self._remember(heads.newest)

    def newest(self) -> RevocationRecord | None:
        """Return the newest list as verified; raises TrustError when the known lists differ about which one that is."""
        heads = self.heads(None)
        for other in heads.beside:
            self._refuse(heads.newest, other)
        return heads.newest

    def publish(self, following: Next, marked: Digest | None, *, at: datetime) -> RevocationRecord:
        """Sign the next list by `following` and keep it, beside the anchor first; return it as verified.

        It continues the newest list that is known, and all others beside it.
        """
        with self.records.locked():
            heads = self.heads(marked)
            others = (*heads.beside, *heads.contained)
            envelope = following(heads.newest, others)
            record = self._verified(envelope)
            for before in (*(() if heads.newest is None else (heads.newest,)), *others):
                check_successor(before, record)
            self.records.keep(envelope)
            for before in ancestors(record, self._uncarried):
                self.blobs.put(self._at_hand(before.list.envelope))
            self.transport.publish(envelope, sequence=record.list.sequence, issued_at=record.list.issued_at, at=at)
            self._remember(record)
        return record

    def carried(self, newest: RevocationRecord) -> bool:
        """Return whether the workspace carries `newest`, so that a copy of the workspace has the list too."""
        envelope = self.transport.newest()
        return envelope is not None and sha256(envelope) == newest.list.envelope

    def envelope(self, record: RevocationRecord) -> bytes:
        """Return the bytes of a list that is known here; raises TrustError when they are not at hand any more."""
        return self._at_hand(record.list.envelope)

    def behind(self, newest: RevocationRecord, since: Digest | None) -> dict[Digest, bytes]:
        """Return the lists that `newest` continues, by digest, for the gate to check the steps; none where it is
        `since`.
        """
        if newest.list.envelope == since:
            return {}
        found = [before.list.envelope for before in ancestors(newest, self.linked)]
        return {digest: self._at_hand(digest) for digest in found}

    def heads(self, marked: Digest | None) -> Heads:
        """Return all known lists, sorted out; raises TrustError for one that is absent, altered, or drops an entry."""
        known = [known.list for known in self.records.known()]
        seen = {digest: self._at_hand(digest) for digest in (*known, *(() if marked is None else (marked,)))}
        carried = self.transport.newest()
        found = seen if carried is None else {**seen, sha256(carried): carried}
        lists = [self._kept(digest) or self._verified(content) for digest, content in found.items()]
        lists.sort(key=lambda record: (-record.list.sequence, record.list.envelope))
        if lists:
            lists[0] = self._verified(found[lists[0].list.envelope])
        return self._sorted_out(lists, frozenset(seen), first_use=not known)

    def _kept(self, digest: Digest) -> RevocationRecord | None:
        """Return a list that was verified before and lies beside the anchor, even where its key is no longer pinned."""
        return None if self.records.envelope(digest) is None else self.linked(digest)

    def _at_hand(self, digest: Digest) -> bytes:
        content = self._bytes(digest)
        if content is None:
            raise TrustError(
                f"the newest list that was seen is not at hand: {digest}",
                where=str(self.records.folder),
                next_step="put the workspace, or this folder, back from a copy that has it",
            )
        return content

    def _sorted_out(self, known: Sequence[RevocationRecord], seen: frozenset[Digest], *, first_use: bool) -> Heads:
        """Sort the lists out. `seen`: the lists that a record or mark names; the newest must continue them."""
        if not known:
            return Heads(None)
        newest = known[0]
        beside: list[RevocationRecord] = []
        contained: list[RevocationRecord] = []
        if first_use:
            check_descent(newest, None, self.linked)
        for other in known[1:]:
            if descends(newest, other, self.linked):
                continue
            tolerable = other.list.envelope not in seen and self._began_apart(newest, other)
            (contained if tolerable and contains(newest, other) else beside).append(other)
        return Heads(newest, tuple(beside), tuple(contained))

    def _began_apart(self, one: RevocationRecord, other: RevocationRecord) -> bool:
        begun = {beginning(record, self.linked) for record in (one, other)}
        return len(begun) == 2 and None not in begun

    def linked(self, digest: Digest) -> RevocationRecord | None:
        """Return the list that a verified one names by `digest`; None where it is not at hand."""
        content = self._bytes(digest)
        if content is None:
            return None
        statement = open_linked(content, digest, predicate_type=REVOCATIONS, where=WHERE)
        return revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER), where=WHERE)

    def _bytes(self, digest: Digest) -> bytes | None:
        content = self.records.envelope(digest)
        return self.blobs.get(digest) if content is None and self.blobs.has(digest) else content

    def _verified(self, envelope: bytes) -> RevocationRecord:
        keys = self.anchor.keys_of(Role.AUTHORITY)
        statement = open_envelope(envelope, keys, predicate_type=REVOCATIONS, where=WHERE)
        return revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER), where=WHERE)

    def _remember(self, newest: RevocationRecord) -> None:
        for record in reversed((newest, *ancestors(newest, self._unkept))):  # the oldest first
            self.records.keep(self._at_hand(record.list.envelope))
        self.records.raise_to(KnownList(newest.list.sequence, newest.list.envelope))

    def _unkept(self, digest: Digest) -> RevocationRecord | None:
        """Return the list unless it lies beside the anchor already; the earlier lists of a kept one are kept
        there too.
        """
        return None if self.records.envelope(digest) is not None else self.linked(digest)

    def _uncarried(self, digest: Digest) -> RevocationRecord | None:
        """Return the list unless the workspace holds it already; the earlier lists of a held one are held there too."""
        return None if self.blobs.has(digest) else self.linked(digest)

    def _refuse(self, newest: RevocationRecord | None, other: RevocationRecord) -> None:
        number = 0 if newest is None else newest.list.sequence
        raise TrustError(
            f"revocation list {number} does not continue list {other.list.sequence}, which is known of this authority "
            "key too: one of them leaves out entries of the other",
            where=other.list.envelope,
            next_step=MERGE,
        )
