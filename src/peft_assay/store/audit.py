"""Auditing: the whole history recomputed from bytes, and held against tables and blobs."""

from dataclasses import dataclass

from sqlalchemy import Connection

from peft_assay.core.digest import Digest
from peft_assay.core.errors import TrustError
from peft_assay.core.protocols import BlobStore
from peft_assay.store import index, ledger


@dataclass(frozen=True, slots=True)
class Audit:
    """What a full recomputation found to be in order."""

    entries: int
    root: Digest
    """Merkle root over all entries."""
    envelopes: int
    """Observations, certificates and revocation lists, each present, unaltered and in the ledger."""


def audit(connection: Connection, blobs: BlobStore) -> Audit:
    """Recomputes every leaf from its body, and matches rows, ledger entries and blobs one to one.

    Raises TrustError naming the first thing that is altered, missing or unrecorded. A truncated tail shows only
    against a mark kept elsewhere (trust.highwater).
    """
    entries = tuple(ledger.entries(connection))
    count = 0
    for kind, recorded in index.envelopes(connection).items():
        if recorded != tuple(entry.happened.get("envelope") for entry in entries if entry.kind is kind):
            raise TrustError(f"the table and the ledger differ about what was {kind.value}", where="workspace")
        for digest in recorded:
            blobs.get(digest)
            count += 1
    return Audit(len(entries), ledger.root_at(connection, len(entries)), count)
