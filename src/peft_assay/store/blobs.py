"""Blobs: write-once bytes under their sha256, durable before anything refers to them, hashed again on every read."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.store.errors import storage_errors

MODE = 0o444


@dataclass(frozen=True, slots=True)
class LocalBlobs:
    """A `core.protocols.BlobStore` in ``folder/sha256/ab/<hex>``."""

    folder: Path

    def put(self, content: bytes) -> Digest:
        """Stores `content` durably; raises StorageError (disk, permissions), TrustError when the blob was altered."""
        digest = sha256(content)
        path = self._path(digest)
        if self.has(digest):
            self.get(digest)
            return digest
        with storage_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(path, content)
            for directory in (path.parent, path.parent.parent, self.folder):
                _sync(directory)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes whose sha256 is `digest`; raises TrustError when absent or altered, else StorageError."""
        path = self._path(digest)
        with storage_errors(path):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                raise TrustError("the stored blob is absent", where=str(path)) from None
            with os.fdopen(handle, "rb") as file:
                content = file.read()
        if sha256(content) != digest:
            raise TrustError("the stored blob was altered", where=str(path), next_step="restore it from a backup")
        return content

    def has(self, digest: Digest) -> bool:
        """Whether the blob is present; its content is checked by `get`."""
        path = self._path(digest)
        with storage_errors(path):
            try:
                return stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                return False

    def _path(self, digest: Digest) -> Path:
        name = hex_of(parse_digest(digest))
        return self.folder / "sha256" / name[:2] / name


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
