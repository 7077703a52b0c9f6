"""Reads a folder once, by directory descriptors, so that no name can be swapped for a link while it is read.

One kind of link is followed: that of the Hugging Face cache, whose snapshots are links of a fixed form into the folder
of blobs of the same repository.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import Limits, Receive, over, refuse
from peft_assay.intake.paths import check_path, is_ignored

CHUNK = 1 << 20
SPARSE_FLOOR = 16 << 20
"""Bytes; smaller files may be as sparse as they like."""
_NOT_REGULAR = "keep only regular files in the adapter's folder"
_BLOB = re.compile(r"((?:\.\./)+)blobs/([0-9a-f]{40}|[0-9a-f]{64})")
"""What links in a Hugging Face cache say: up to the repository's folder, then a blob by its git or sha256 id."""


def read_directory(source: Path, limits: Limits, receive: Receive) -> None:
    """Hands on every regular file under `source` by relative path; raises IntakeError.

    Refused: links (but for a Hugging Face cache's own), FIFOs, devices, sockets, files that change while they are
    read, and anything over `limits`. `source` itself may be a link: the user named it.
    """
    try:
        with ExitStack() as stack:
            root = stack.enter_context(_opened(source, os.O_DIRECTORY))
            cache = _cache_of(source)
            blobs = None if cache is None else stack.enter_context(_opened(cache.blobs, os.O_DIRECTORY))
            _Walk(source, limits, receive, blobs, 0 if cache is None else cache.depth).folder(root, "")
    except OSError as error:
        raise refuse(
            f"cannot be read: {error.strerror or type(error).__name__}",
            where=str(error.filename or source),
            next_step="check that the files exist and that you may read them",
        ) from error


@dataclass(frozen=True, slots=True)
class _Cache:
    """The Hugging Face cache that a folder lies in."""

    blobs: Path
    depth: int
    """Folders from the repository's down to the one that was named."""


def _cache_of(source: Path) -> _Cache | None:
    """The cache around `source` when it is, or lies in, ``<repository>/snapshots/<revision>``."""
    folder = source.resolve()
    for depth, parent in enumerate(folder.parents, 1):
        if parent.name == "snapshots" and parent.parent.name.startswith(("models--", "datasets--")):
            blobs = parent.parent / "blobs"
            return _Cache(blobs, depth + 1) if blobs.is_dir() and not blobs.is_symlink() else None
    return None


@contextmanager
def _opened(path: str | Path, flags: int, *, at: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Walk:
    source: Path
    limits: Limits
    receive: Receive
    blobs: int | None
    """Descriptor of the cache's folder of blobs, where there is one."""
    depth: int

    def folder(self, folder: int, prefix: str) -> None:
        for name in sorted(os.listdir(folder)):
            path = prefix + name
            if is_ignored(path):
                continue
            check_path(path, self.limits)
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                self._link(folder, name, path)
            elif stat.S_ISDIR(mode):
                with _opened(name, os.O_DIRECTORY | os.O_NOFOLLOW, at=folder) as inner:
                    self.folder(inner, path + "/")
            elif stat.S_ISREG(mode):
                self._file(name, path, at=folder)
            else:
                raise refuse("not a regular file (FIFO, socket or device)", where=path, next_step=_NOT_REGULAR)

    def _file(self, name: str, path: str, *, at: int) -> None:
        # O_NONBLOCK: were the name swapped for a FIFO meanwhile, opening it would not wait for a writer.
        with _opened(name, os.O_NOFOLLOW | os.O_NONBLOCK, at=at) as opened:
            read_once(opened, path, self.receive)

    def _link(self, folder: int, name: str, path: str) -> None:
        target = os.readlink(name, dir_fd=folder)
        match = _BLOB.fullmatch(target)
        if self.blobs is None or match is None or match[1].count("/") != self.depth + path.count("/"):
            raise self._refused(target, path)
        self._file(match[2], path, at=self.blobs)

    def _refused(self, target: str, path: str) -> IntakeError:
        return refuse(
            f"is a symbolic link (to {target!r}): what it points at could change or lie outside of the folder",
            where=f"{self.source}: {path}",
            next_step="look at where it leads; where that is part of the adapter, put the file itself in its place",
        )


def read_once(descriptor: int, path: str, receive: Receive) -> None:
    """Hands on the whole file behind `descriptor`; raises IntakeError when it is no plain file or changes meanwhile."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise refuse("not a regular file", where=path, next_step=_NOT_REGULAR)
    if before.st_size > SPARSE_FLOOR and before.st_blocks * 512 < before.st_size // 4 and _has_hole(descriptor, before):
        raise over(path, f"a sparse file: it says {before.st_size} bytes and stores {before.st_blocks * 512}")
    receive(path, before.st_size, _chunks(descriptor, path, before))


def _chunks(descriptor: int, path: str, before: os.stat_result) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(CHUNK, max(before.st_size, 1))))
    left = before.st_size
    while left and (count := os.readv(descriptor, [buffer[: min(left, CHUNK)]])):
        left -= count
        yield buffer[:count]
    after = os.fstat(descriptor)
    same = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns
    )  # fmt: skip
    if left or not same:
        raise refuse("changed while it was read", where=path, next_step="wait until the writer is done, then try again")


def _has_hole(descriptor: int, stated: os.stat_result) -> bool:
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < stated.st_size
    except OSError:  # a file system that does not tell
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
