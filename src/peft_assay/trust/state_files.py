"""Files of the anchor's state: written whole and durably, changed under a lock, and readable without being writable."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ONLY_READABLE = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone, making it and its folder where they are not there; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def only_readable(error: OSError) -> bool:
    """Whether `error` says that this user may not write there, and nothing worse."""
    return error.errno in _ONLY_READABLE


def replace_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, on the disk when this returns; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync(path.parent)


def append_durably(path: Path, line: bytes) -> None:
    """Append `line` to `path`, on the disk when this returns; raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
