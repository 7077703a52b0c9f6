"""Blobs: write-once bytes under their sha256, durable before anything refers to them, hashed again on every read."""

import errno
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.store.errors import storage_errors

MODE = 0o444
_RESTORE = "restore it from a backup"


@dataclass(frozen=True, slots=True)
class LocalBlobs:
    """A `core.protocols.BlobStore` in ``folder/sha256/ab/<hex>``."""

    folder: Path

    def put(self, content: bytes) -> Digest:
        """Stores `content` durably; raises StorageError (disk, permissions), TrustError when the blob was altered."""
        digest = sha256(content)
        path = self.place(digest)
        if self.has(digest):
            self.get(digest)
            return digest
        with storage_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(path, content)
            for directory in (path.parent, path.parent.parent, self.folder):
                _sync(directory)
        return digest

    def draft(self) -> "BlobDraft":
        """Opens a draft for bytes that come piece by piece; raises StorageError. Drafts of the dead are swept away."""
        folder = self.folder / "drafts"
        with storage_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(folder)
            path = folder / f"{os.urandom(8).hex()}.draft"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
            fcntl.flock(handle, fcntl.LOCK_EX)
        return BlobDraft(self, path, os.fdopen(handle, "wb"))

    def get(self, digest: Digest) -> bytes:
        """The bytes whose sha256 is `digest`; raises TrustError when absent or altered, else StorageError."""
        path = self.place(digest)
        with storage_errors(path):
            handle = _opened(path)
            with os.fdopen(handle, "rb") as file:
                content = file.read()
        if sha256(content) != digest:
            raise TrustError("the stored blob was altered", where=str(path), next_step=_RESTORE)
        return content

    def has(self, digest: Digest) -> bool:
        """Whether the blob is present; its content is checked by `get`."""
        path = self.place(digest)
        with storage_errors(path):
            try:
                return stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                return False

    def check(self, digest: Digest) -> None:
        """Hashes the stored blob again, piece by piece; raises TrustError when it is absent or altered."""
        path = self.place(digest)
        with storage_errors(path):
            handle = _opened(path)
            with os.fdopen(handle, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != hex_of(digest):
            raise TrustError("the stored blob was altered", where=str(path), next_step=_RESTORE)

    def place(self, digest: Digest) -> Path:
        name = hex_of(parse_digest(digest))
        return self.folder / "sha256" / name[:2] / name


class BlobDraft:
    """A `core.content.Draft`: bytes in a file of their own, linked to their digest's place when they are durable."""

    def __init__(self, blobs: LocalBlobs, path: Path, file: IO[bytes]) -> None:
        self._blobs = blobs
        self._path = path
        self._file = file

    def write(self, chunk: memoryview) -> None:
        """Appends `chunk`; raises StorageError."""
        with storage_errors(self._path):
            self._file.write(chunk)

    def keep(self, digest: Digest) -> None:
        """Durable under `digest` or not at all. Raises StorageError; TrustError when the blob there was altered."""
        place = self._blobs.place(digest)
        with storage_errors(place):
            self._file.flush()
            os.fsync(self._file.fileno())
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.link(self._path, place)
            except FileExistsError:
                self._blobs.check(digest)
            for directory in (place.parent, place.parent.parent, self._blobs.folder):
                _sync(directory)
        self.drop()

    def drop(self) -> None:
        """Forgets it; what was kept stays."""
        if self._file.closed:
            return
        self._path.unlink(missing_ok=True)
        self._file.close()


def _opened(path: Path) -> int:
    """Open the blob at `path`; raises TrustError where it is absent, or a link lies in its place."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TrustError("the stored blob is absent", where=str(path), next_step=_RESTORE) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise TrustError("a link lies in the stored blob's place", where=str(path), next_step=_RESTORE) from None


def _sweep(folder: Path) -> None:
    """Removes drafts whose writer is gone: a living one holds the lock on its own."""
    for path in folder.glob("*.draft"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


def _write_once(path: Path, content: bytes) -> None:
    """Complete and durable under `path`, or not there at all: a draft beside it, linked when it is on the disk."""
    draft = path.with_name(f".{os.urandom(8).hex()}.draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process stored the same bytes first
    finally:
        draft.unlink()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
