"""Auditing: the whole history recomputed from bytes, and held against tables and blobs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.core.protocols import BlobStore
from peft_assay.store import index, ledger
from peft_assay.store.ledger import Entry, Kind

_COPY = "put the whole .peft-assay folder back from a copy"


@dataclass(frozen=True, slots=True)
class Audit:
    """What a full recomputation found to be in order."""

    entries: int
    root: Digest
    """Merkle root over all entries."""
    envelopes: int
    """Observations, certificates and revocation lists, each present, unaltered and in the ledger."""
    checkpoint: bytes | None
    """The last signed checkpoint, not yet verified; None where no entry carries one."""
    attested: int
    """The number of entries that it covers."""
    attested_root: Digest
    """Their Merkle root, recomputed."""
    unattested: tuple[Kind, ...]
    """Kinds of the entries after them."""


def audit(connection: Connection, blobs: BlobStore) -> Audit:
    """Recompute every leaf from its body, match rows and entries one to one, and hash every document they name.

    Raises TrustError naming the first thing that is altered, missing or unrecorded. A truncated tail shows only
    against a mark kept elsewhere (trust.highwater).
    """
    entries = tuple(ledger.entries(connection))
    count = 0
    for kind, recorded in index.recorded(connection).items():
        if recorded != tuple(entry.happened for entry in entries if entry.kind is kind):
            raise TrustError(
                f"the table and the ledger differ about entries of kind {kind.value}",
                where="workspace",
                next_step=_COPY,
            )
        count += sum("envelope" in what for what in recorded)
    for digest in dict.fromkeys(_documents(entries)):
        blobs.get(digest)
    attested, checkpoint = ledger.newest_checkpoint(connection) or (0, None)
    return Audit(
        entries=len(entries),
        root=ledger.root_at(connection, len(entries)),
        envelopes=count,
        checkpoint=checkpoint,
        attested=attested,
        attested_root=ledger.root_at(connection, attested),
        unattested=tuple(entry.kind for entry in entries[attested:]),
    )


@dataclass(frozen=True, slots=True)
class Since:
    """The entries appended to a ledger after its first `size` entries, which are unchanged."""

    size: int
    checkpoint: bytes | None
    """The newest signed checkpoint, not yet verified, where it covers entries after them; else None."""
    attested: int
    attested_root: Digest
    """Root of the entries that this checkpoint covers, recomputed."""
    unattested: tuple[tuple[int, Kind], ...]
    """Numbers and kinds of the entries after both."""


def since(connection: Connection, size: int, root: Digest) -> Since:
    """Return the entries after the first `size` ones; raises TrustError unless these still have `root`."""
    if ledger.size(connection) < size or ledger.root_at(connection, size) != root:
        raise TrustError("the ledger's past was changed while this ran", where="workspace", next_step=_COPY)
    attested, checkpoint = ledger.newest_checkpoint(connection) or (0, None)
    if attested <= size:
        attested, checkpoint = size, None
    return Since(
        size=size,
        checkpoint=checkpoint,
        attested=attested,
        attested_root=ledger.root_at(connection, attested),
        unattested=tuple((entry.seq, entry.kind) for entry in ledger.entries(connection, after=attested)),
    )


def _documents(entries: Sequence[Entry]) -> Iterator[Digest]:
    """Yield the documents that entries name and the workspace keeps, without the adapters' own files."""
    for entry in entries:
        what = entry.happened
        match entry.kind:
            case Kind.OBSERVED | Kind.CERTIFIED | Kind.REVOKED | Kind.ANSWERED | Kind.WAIVED | Kind.CLEARED:
                named = [what.get("envelope")]
            case Kind.RIGHTS:
                named = [what.get("snapshot"), *([what["envelope"]] if "envelope" in what else [])]
            case Kind.ADMITTED:
                named = [what.get("artifact")]
            case Kind.VERDICT if "grounds" in what:
                named = [what["grounds"].get("policy"), what.get("lock")]
            case _:
                named = []
        for digest in named:
            try:
                yield parse_digest(str(digest))
            except ValueError:
                raise TrustError("it names no document", where=f"ledger entry {entry.seq}", next_step=_COPY) from None
