"""The ledger: an append-only history whose leaves commit to every entry's exact bytes (RFC 9162).

Bodies hold digests, numbers, times and short identifiers; prose is refused by form, so that no prompt, no model output
and no file's text can come to stand in a history that is never erased.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, insert, select

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError, TrustError, UsageError
from peft_assay.core.parse import parse_json
from peft_assay.store.merkle import leaf_hash, root
from peft_assay.store.schema import ledger

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/@+-]{1,128}")


class Kind(StrEnum):
    """What happened."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    ATTEMPT = "attempt"
    OBSERVED = "observed"
    VERDICT = "verdict"
    CERTIFIED = "certified"
    DENIED = "denied"
    REVOKED = "revoked"
    LIFTED = "lifted"
    ACTIVATED = "activated"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `body` is the canonical JSON of seq, at, kind and what happened; `leaf` is its RFC 9162 leaf hash."""

    seq: int
    at: str
    kind: Kind
    body: bytes
    leaf: bytes
    happened: Mapping[str, Any]
    """The body's ``what``, parsed."""


def spell(instant: datetime) -> str:
    """`instant` in UTC as ``2026-11-23T09:30:00Z``; raises UsageError without a time zone."""
    if instant.utcoffset() is None:
        raise UsageError("a time without a time zone says nothing")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def append(connection: Connection, kind: Kind, at: datetime, what: Mapping[str, Any]) -> int:
    """Appends an entry inside the caller's transaction and gives its number (from 1)."""
    _refuse_prose(what)
    seq = size(connection) + 1
    body = canonical_bytes({"seq": seq, "at": spell(at), "kind": kind.value, "what": what})
    connection.execute(
        insert(ledger).values(seq=seq, at=spell(at), kind=kind.value, body=body, leaf=leaf_hash(body)),
    )
    return seq


def size(connection: Connection) -> int:
    """How many entries there are."""
    return int(connection.execute(select(func.coalesce(func.max(ledger.c.seq), 0))).scalar_one())


def entries(connection: Connection, kind: Kind | None = None) -> Iterator[Entry]:
    """Entries in order, each recomputed from its body; raises TrustError for one that was altered or is missing."""
    expected = 1
    query = select(ledger).order_by(ledger.c.seq)
    for row in connection.execute(query if kind is None else query.where(ledger.c.kind == kind.value)):
        entry = _entry(row.seq, row.at, row.kind, row.body, row.leaf)
        if kind is None and entry.seq != expected:
            raise TrustError("an entry is missing", where=f"ledger entry {expected}")
        expected += 1
        yield entry


def root_at(connection: Connection, count: int) -> Digest:
    """Merkle root of the first `count` entries, as ``sha256:...``; raises TrustError when there are fewer."""
    query = select(ledger.c.leaf).order_by(ledger.c.seq).limit(count)
    leaves = [bytes(row.leaf) for row in connection.execute(query)]
    if len(leaves) != count:
        raise TrustError(f"the ledger has {len(leaves)} entries, fewer than {count}")
    return Digest("sha256:" + root(leaves).hex())


def _entry(seq: int, at: str, kind: str, body: bytes, leaf: bytes) -> Entry:
    where = f"ledger entry {seq}"
    if leaf_hash(body) != leaf:
        raise TrustError("its bytes are not the ones that were hashed", where=where)
    try:
        match parse_json(body, where=where):
            case {"seq": int(s), "at": str(a), "kind": str(k), "what": dict(what)} if (s, a, k) == (seq, at, kind):
                return Entry(seq, at, Kind(kind), body, leaf, what)
            case _:
                raise TrustError("its columns are not what its body says", where=where)
    except (DocumentError, ValueError):
        raise TrustError("its body is not a ledger entry", where=where) from None


def _refuse_prose(value: Any) -> None:
    if isinstance(value, str) and not _IDENTIFIER.fullmatch(value):
        raise UsageError("the ledger holds digests and identifiers, never prose")
    for child in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        _refuse_prose(child)
