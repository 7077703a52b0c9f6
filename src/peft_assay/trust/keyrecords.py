"""The record of one authority key, kept beside the anchor: its newest revocation list belongs to the key.

Every workspace of a key continues the same list, and honours withdrawals made in another one. The record names the
newest list that was seen; the lists themselves lie beside it, each under its digest, so that a workspace that is gone
takes no withdrawal with it. Where the anchor pins several authority keys, each has its record, and the next list of one
of them is written to all: so a rotation loses nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256
from peft_assay.core.errors import DocumentError, StorageError, TrustError
from peft_assay.core.parse import parse_json, validate
from peft_assay.trust.state_files import locked, only_readable, replace_durably
from peft_assay.trust.wire import FullDigest, Wire

_RESTORE = "put the whole folder back from a copy: without it this key's withdrawals are not known here"


@dataclass(frozen=True, slots=True)
class KnownList:
    """The newest revocation list that was seen of a key."""

    sequence: int
    list: Digest


class _Wire(Wire):
    sequence: int = Field(ge=1)
    list: FullDigest


@dataclass(frozen=True, slots=True)
class KeyRecords:
    """The records of the pinned authority keys, in one folder of the anchor's state."""

    folder: Path
    keyids: Sequence[str]

    @contextmanager
    def locked(self, *, reading: bool = False) -> Iterator[bool]:
        """Hold the records alone; yields whether they can be written, which may be false only with `reading`.

        Raises StorageError.
        """
        with self._opened(reading=reading) as writable:
            yield writable

    @contextmanager
    def _opened(self, *, reading: bool) -> Iterator[bool]:
        lock = locked(self.folder / "lock")
        try:
            lock.__enter__()
        except OSError as error:
            if not (reading and only_readable(error)):
                raise self._refused(error) from None
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)

    def known(self) -> tuple[KnownList, ...]:
        """Return the known lists of each key, newest first; raises TrustError for a damaged record, StorageError."""
        found = [known for keyid in self.keyids if (known := self._read(self.folder / f"{keyid}.json")) is not None]
        return tuple(sorted(set(found), key=lambda known: (-known.sequence, known.list)))

    def envelope(self, digest: Digest) -> bytes | None:
        """Return the list with this digest, None where it is not kept; raises TrustError when it was altered."""
        path = self._place(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from None
        if sha256(content) != digest:
            raise TrustError("the kept revocation list was altered", where=str(path), next_step=_RESTORE)
        return content

    def keep(self, envelope: bytes) -> None:
        """Keep a list under its digest, durably; raises StorageError."""
        path = self._place(sha256(envelope))
        try:
            if not path.exists():
                replace_durably(path, envelope)
        except OSError as error:
            raise self._refused(error) from None

    def raise_to(self, newest: KnownList) -> None:
        """Make `newest`, which was checked and is kept, the newest list of every pinned key; raises StorageError."""
        content = canonical_bytes({"sequence": newest.sequence, "list": newest.list})
        try:
            for keyid in self.keyids:
                path = self.folder / f"{keyid}.json"
                if not path.exists() or path.read_bytes() != content:
                    replace_durably(path, content)
        except OSError as error:
            raise self._refused(error) from None

    def _read(self, path: Path) -> KnownList | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from None
        try:
            wire = validate(_Wire, parse_json(content, where=str(path)), where=str(path))
        except DocumentError as error:
            raise TrustError(f"damaged record of an authority key: {error.message}", where=str(path)) from None
        return KnownList(wire.sequence, parse_digest(wire.list))

    def _place(self, digest: Digest) -> Path:
        return self.folder / "lists" / f"{hex_of(digest)}.json"

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"the records of authority keys: {error.strerror}", where=str(self.folder))
