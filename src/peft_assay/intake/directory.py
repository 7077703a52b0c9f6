"""Reads a folder once, by directory descriptors, so that no name can be swapped for a link while it is read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import Limits, refuse
from peft_assay.intake.paths import check_path, is_ignored

CHUNK = 1 << 20
_NOT_REGULAR = "keep only regular files in the adapter's folder"


def read_directory(source: Path, limits: Limits) -> dict[str, bytes]:
    """Content of every regular file under `source` by relative path; raises IntakeError.

    Refused: links (copy the files instead), FIFOs, devices, sockets, files that change while they are read, and
    anything over `limits`. `source` itself may be a link: the user named it.
    """
    files: dict[str, bytes] = {}
    try:
        with _opened(source, os.O_DIRECTORY) as root:
            for path, content in _walk(root, "", source, limits):
                files[path] = content
                _check_totals(files, limits)
    except OSError as error:
        raise refuse(
            f"cannot be read: {error.strerror or type(error).__name__}",
            where=str(error.filename or source),
            next_step="check that the files exist and that you may read them",
        ) from error
    return files


@contextmanager
def _opened(path: str | Path, flags: int, *, at: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(folder: int, prefix: str, source: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listdir(folder)):
        path = prefix + name
        if is_ignored(path):
            continue
        check_path(path, limits)
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise _link(folder, name, path, source)
        if stat.S_ISDIR(mode):
            with _opened(name, os.O_DIRECTORY | os.O_NOFOLLOW, at=folder) as inner:
                yield from _walk(inner, path + "/", source, limits)
        elif stat.S_ISREG(mode):
            # O_NONBLOCK: were the name swapped for a FIFO meanwhile, opening it would not wait for a writer.
            with _opened(name, os.O_NOFOLLOW | os.O_NONBLOCK, at=folder) as opened:
                yield path, read_once(opened, path, limits)
        else:
            raise refuse("not a regular file (FIFO, socket or device)", where=path, next_step=_NOT_REGULAR)


def _link(folder: int, name: str, path: str, source: Path) -> IntakeError:
    target = os.readlink(name, dir_fd=folder)
    return refuse(
        f"is a symbolic link (to {target!r}): what it points at could change or lie outside of the folder",
        where=path,
        next_step=f"copy the files: cp -rL {source} {source}-copy, then name the copy",
    )


def read_once(descriptor: int, path: str, limits: Limits) -> bytes:
    """The whole file behind `descriptor`; raises IntakeError when it is too large or changes meanwhile."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise refuse("not a regular file", where=path, next_step=_NOT_REGULAR)
    if before.st_size > limits.file_bytes:
        raise over(path, f"{before.st_size} bytes, more than {limits.file_bytes}")
    content = bytearray()
    while chunk := os.read(descriptor, CHUNK):
        content += chunk
        if len(content) > before.st_size:
            break
    after = os.fstat(descriptor)
    same = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns
    )  # fmt: skip
    if not same or len(content) != before.st_size:
        raise refuse("changed while it was read", where=path, next_step="wait until the writer is done, then try again")
    return bytes(content)


def over(where: str, message: str) -> IntakeError:
    """The refusal of something over a limit."""
    return refuse(f"over the limit: {message}", where=where, next_step="name a folder that holds one adapter only")


def _check_totals(files: dict[str, bytes], limits: Limits) -> None:
    if len(files) > limits.files:
        raise over(next(reversed(files)), f"more than {limits.files} files")
    if sum(map(len, files.values())) > limits.total_bytes:
        raise over(next(reversed(files)), f"more than {limits.total_bytes} bytes in all")
