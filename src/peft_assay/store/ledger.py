"""The ledger: an append-only history whose leaves commit to every entry's exact bytes (RFC 9162).

Bodies hold digests, numbers, times and short identifiers; prose is refused by form, so that no prompt, no model output
and no file's text can come to stand in a history that is never erased.
"""

import re
from collections.abc import Callable, Iterator, Mapping
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

Attest = Callable[[int, Digest], bytes | None]
"""Signs that the ledger has this size and this root; None where no key is at hand."""
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/@+-]{1,128}")


class Kind(StrEnum):
    """What happened."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    ATTEMPT = "attempt"
    ANSWERED = "answered"
    OBSERVED = "observed"
    VERDICT = "verdict"
    CERTIFIED = "certified"
    DENIED = "denied"
    REVOKED = "revoked"
    LIFTED = "lifted"
    ACTIVATED = "activated"
    RIGHTS = "rights"
    CLEARED = "cleared"
    UNCLEARED = "uncleared"
    WAIVED = "waived"
    UNWAIVED = "unwaived"


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


def append(
    connection: Connection, kind: Kind, at: datetime, what: Mapping[str, Any], attest: Attest | None = None
) -> int:
    """Append an entry inside the caller's transaction and return its number (from 1).

    `attest` signs the size and root that the ledger then has, so that nothing can be appended without a key unnoticed.
    """
    _refuse_prose(what)
    seq = size(connection) + 1
    body = canonical_bytes({"seq": seq, "at": spell(at), "kind": kind.value, "what": what})
    leaf = leaf_hash(body)
    row = {"seq": seq, "at": spell(at), "kind": kind.value, "body": body, "leaf": leaf}
    checkpoint = None if attest is None else attest(seq, Digest("sha256:" + root([*_leaves(connection), leaf]).hex()))
    connection.execute(insert(ledger).values(row | {"checkpoint": checkpoint}))
    return seq


def newest_checkpoint(connection: Connection) -> tuple[int, bytes] | None:
    """Return the last entry that carries a checkpoint, and the checkpoint; None where no entry does."""
    query = select(ledger.c.seq, ledger.c.checkpoint).where(ledger.c.checkpoint.is_not(None))
    row = connection.execute(query.order_by(ledger.c.seq.desc()).limit(1)).first()
    return None if row is None else (int(row.seq), _blob(row.checkpoint, row.seq))


def _leaves(connection: Connection) -> list[bytes]:
    """Return leaf hashes as stored: every reader of an entry notices a hash that does not fit its body."""
    stored = connection.execute(select(ledger.c.leaf).order_by(ledger.c.seq)).scalars()
    return [_blob(leaf, seq) for seq, leaf in enumerate(stored, start=1)]


def size(connection: Connection) -> int:
    """How many entries there are."""
    return int(connection.execute(select(func.coalesce(func.max(ledger.c.seq), 0))).scalar_one())


def entries(connection: Connection, kind: Kind | None = None, *, after: int = 0) -> Iterator[Entry]:
    """Yield entries in order, of `kind` or all, behind the first `after`, each recomputed from its body.

    Raises TrustError for an entry that is altered or missing. The kind is looked for in the body, which the roots
    commit to, not in the column, which can be relabelled without a key.
    """
    said = b"" if kind is None else b'"kind":"%b"' % kind.value.encode()
    rows = connection.execute(select(ledger).where(ledger.c.seq > after).order_by(ledger.c.seq))
    for expected, row in enumerate(rows, start=after + 1):
        if row.seq != expected:
            raise TrustError("an entry is missing", where=f"ledger entry {expected}")
        if said in _blob(row.body, expected):
            yield _entry(row.seq, row.at, row.kind, row.body, row.leaf)


def root_at(connection: Connection, count: int) -> Digest:
    """Merkle root of the first `count` entries, as ``sha256:...``; raises TrustError when there are fewer.

    Leaves are hashed from the bodies anew: a stored hash would vouch for a body that was exchanged beside it.
    """
    query = select(ledger.c.body).order_by(ledger.c.seq).limit(count)
    bodies = connection.execute(query).scalars()
    leaves = [leaf_hash(_blob(body, seq)) for seq, body in enumerate(bodies, start=1)]
    if len(leaves) != count:
        raise TrustError(f"the ledger has {len(leaves)} entries, fewer than {count}")
    return Digest("sha256:" + root(leaves).hex())


def _blob(value: object, seq: int) -> bytes:
    if not isinstance(value, bytes):  # SQLite lets whoever owns the file put any type into any column
        raise TrustError("its body is not bytes", where=f"ledger entry {seq}")
    return value


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
