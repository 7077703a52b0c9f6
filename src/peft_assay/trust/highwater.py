"""High-water marks: what this host has already seen, kept outside the workspace.

Whoever can write the workspace can put yesterday's copy back: without the newest revocations, without the attempts that
failed. The mark remembers, per workspace, the highest revocation sequence, the ledger's size and root, and the latest
time; anything behind it is a rollback. With no mark yet, the first sight is trusted and `first_use` says so.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256
from peft_assay.core.errors import DocumentError, StorageError, TrustError
from peft_assay.core.parse import parse_json, validate
from peft_assay.trust.state_files import locked, only_readable, replace_durably
from peft_assay.trust.times import format_time, whole_seconds
from peft_assay.trust.wire import FullDigest, Instant, Wire

CLOCK_TOLERANCE = timedelta(minutes=5)
_WORKSPACE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Mark:
    """The most that was seen of one workspace. Sequence 0: no revocation list yet."""

    sequence: int
    ledger_size: int
    ledger_root: Digest
    seen_at: datetime
    list: Digest | None = None
    """Envelope of the revocation list with that sequence; None in a mark of an earlier version."""
    attested: bool = False
    """Whether the ledger carried a signed checkpoint."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The mark as it stands now, and whether this was the first sight of the workspace (trusted on first use)."""

    mark: Mark
    first_use: bool


class _Wire(Wire):
    sequence: int = Field(ge=0)
    ledgerSize: int = Field(ge=0)
    ledgerRoot: FullDigest
    seenAt: Instant
    list: FullDigest | None = None
    attested: bool = False


@dataclass(frozen=True, slots=True)
class HighWater:
    """The marks in one folder, a file for each workspace."""

    folder: Path

    def read(self, workspace: str) -> Mark | None:
        """The mark of `workspace`, or None; raises TrustError for a damaged one, StorageError for a disk that fails."""
        path = self._path(workspace)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None
        try:
            wire = validate(_Wire, parse_json(content, where=str(path)), where=str(path))
        except DocumentError as error:
            raise TrustError(f"damaged high-water mark: {error.message}", where=str(path)) from None
        known = None if wire.list is None else parse_digest(wire.list)
        return Mark(wire.sequence, wire.ledgerSize, parse_digest(wire.ledgerRoot), wire.seenAt, known, wire.attested)

    def check_and_raise(self, workspace: str, seen: Mark, root_at: Callable[[int], Digest]) -> Raised:
        """`look_and_raise` for what was seen a moment ago, where nobody else writes the workspace."""
        return self.look_and_raise(workspace, lambda: seen, root_at)

    def look_and_raise(
        self,
        workspace: str,
        look: Callable[[], Mark],
        root_at: Callable[[int], Digest],
        *,
        place: Path | None = None,
        reading: bool = False,
    ) -> Raised:
        """Check the state that `look` returns against the mark and raise the mark to it, under a lock and durably.

        `look` is called under the lock, or another process's newer entry would pass for a rollback; it reads
        verified evidence only. ``root_at(n)`` is the Merkle root of the ledger's first `n` entries as it is now.
        `place` is the workspace's folder: once seen, it holds this workspace or none, so that an old copy under a new
        id does not pass for a first use. With `reading`, marks that this user cannot write are compared with and left.
        Raises TrustError when sequence, ledger or clock went back (the clock by more than five minutes), or another
        workspace stands in the place.
        """
        try:
            with locked(self._path(workspace).with_suffix(".lock")):
                return self._compare(workspace, look, root_at, place, keep=True)
        except OSError as error:
            if not (reading and only_readable(error)):
                raise StorageError(f"cannot keep high-water marks: {error.strerror}", where=str(self.folder)) from None
        return self._compare(workspace, look, root_at, place, keep=False)

    def _compare(
        self,
        workspace: str,
        look: Callable[[], Mark],
        root_at: Callable[[int], Digest],
        place: Path | None,
        *,
        keep: bool,
    ) -> Raised:
        self._check_place(workspace, place, keep=keep)
        seen = look()
        mark = self.read(workspace)
        latest = whole_seconds(seen.seen_at)
        if mark is not None:
            check_mark(mark, seen, root_at)
            latest = max(mark.seen_at, latest)
        raised = replace(seen, seen_at=latest)
        if keep:
            replace_durably(self._path(workspace), canonical_bytes(_document(raised)))
        return Raised(raised, first_use=mark is None)

    def _path(self, workspace: str) -> Path:
        if not _WORKSPACE_ID.fullmatch(workspace):
            raise TrustError("not a workspace id", where=str(self.folder))
        return self.folder / f"{workspace}.json"

    def _check_place(self, workspace: str, place: Path | None, *, keep: bool) -> None:
        if place is None:
            return
        as_written = os.path.abspath(place)  # noqa: PTH100 - a link put in its place must not choose another mark
        for name in dict.fromkeys((as_written, os.fspath(place.resolve()))):
            path = self.folder / f"{hex_of(sha256(os.fsencode(name)))}.place"
            try:
                known = path.read_bytes()
            except FileNotFoundError:
                if keep:
                    replace_durably(path, workspace.encode())
                continue
            if known != workspace.encode():
                raise TrustError(
                    "another workspace stood here before: this one is a replacement, or an old copy under a new id",
                    where=str(place),
                    next_step=f"if you replaced it on purpose, remove {path}",
                )


def _document(mark: Mark) -> dict[str, str | int | None]:
    return {
        "list": mark.list,
        "attested": mark.attested,
        "sequence": mark.sequence,
        "ledgerSize": mark.ledger_size,
        "ledgerRoot": mark.ledger_root,
        "seenAt": format_time(mark.seen_at),
    }


def check_mark(mark: Mark, seen: Mark, root_at: Callable[[int], Digest]) -> None:
    """Raises TrustError when `seen` is behind `mark`, or its ledger is not a continuation of the marked one."""
    if seen.sequence < mark.sequence:
        raise TrustError(f"revocation list {seen.sequence} was put back; {mark.sequence} has been seen on this host")
    if seen.sequence == mark.sequence and mark.list is not None and seen.list != mark.list:
        raise TrustError(f"there are two revocation lists {mark.sequence}; the other one has been seen on this host")
    if seen.ledger_size < mark.ledger_size:
        raise TrustError(f"the ledger has {seen.ledger_size} entries; {mark.ledger_size} have been seen on this host")
    if mark.attested and not seen.attested:
        raise TrustError("the ledger's signed checkpoints are gone; this host has seen them")
    if root_at(mark.ledger_size) != mark.ledger_root:
        raise TrustError("the ledger's past is not the one that has been seen on this host")
    if seen.seen_at + CLOCK_TOLERANCE < mark.seen_at:
        raise TrustError(
            f"the clock was put back: {format_time(mark.seen_at)} has been seen on this host",
            next_step="correct the clock",
        )
