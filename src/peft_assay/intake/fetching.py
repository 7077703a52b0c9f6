"""What fetching from anywhere has in common: a staging folder per pinned version, and a record of what belongs there.

A staging folder is named by what it is pinned to, so that an interrupted fetch is resumed and two processes fetch one
thing once (a lock file beside it). Its record, written when every file was checked, lists them: with it a pinned
version is checked and used again without any network.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import DocumentError, StorageError
from peft_assay.core.parse import parse_json
from peft_assay.intake.interface import Limits, over, refuse
from peft_assay.intake.paths import check_path, check_unambiguous

Tell = Callable[[str], None]
"""Says one line about a fetch: progress, waiting, a tag that moved."""


@dataclass(frozen=True, slots=True)
class Remote:
    """One file as its server announces it."""

    path: str
    """Relative to the adapter's folder."""
    size: int
    check: str
    """How its content is known: ``sha256:<hex>``, ``git:<hex>`` (a git blob id), or ``none``: nothing is announced."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version of an adapter, here as plain files."""

    folder: Path
    pinned: str
    """The name that means these very files, today and later."""
    moved_from: str | None = None
    """What the same revision name meant when it was last fetched here, where that was something else."""


def check_listing(files: Sequence[Remote], limits: Limits, *, where: str, named: str = "") -> None:
    """Raises IntakeError when what a server announces could not be admitted: before a byte of it is fetched.

    `named` and the path of a folder in the listing are what a person writes to mean that folder alone.
    """
    if not files:
        raise refuse(
            "there are no files", where=where, next_step="look at the repository; name its subfolder with :FOLDER"
        )
    if len(files) > limits.files:
        raise over(where, f"{len(files)} files, more than {limits.files}")
    for file in files:
        check_path(file.path, limits)
        if file.size > limits.file_bytes:
            raise over(f"{where}: {file.path}", f"{file.size} bytes, more than {limits.file_bytes}")
    check_unambiguous([file.path for file in files], named=named)
    total = sum(file.size for file in files)
    if total > limits.total_bytes:
        raise over(where, f"{total} bytes, more than {limits.total_bytes}")


def matches(path: Path, file: Remote) -> bool:
    """Whether the file at `path` is what was announced; reads all of it. False when it is not there."""
    try:
        with path.open("rb") as opened:
            if path.is_symlink() or os.fstat(opened.fileno()).st_size != file.size:
                return False
            kind, _, expected = file.check.partition(":")
            if kind == "none":
                return True
            digest = (
                hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
            )
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest() == expected
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def _git_blob(size: int) -> Any:
    """What git names a file's content by; see "Git Internals - Git Objects"."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


@contextmanager
def staging(place: Path, name: str) -> Iterator[Path]:
    """The staging folder `name` under `place`, held by this process alone. Raises StorageError."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = place / name
            folder.mkdir(mode=0o700, exist_ok=True)
            yield folder
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(error.filename or place)) from error


def record(place: Path, name: str, files: Sequence[Remote]) -> None:
    """Notes that every file of `name` is here and checked."""
    listed = [{"path": file.path, "size": file.size, "check": file.check} for file in files]
    write(place / f"{name}.json", {"files": listed})


def recorded(place: Path, name: str) -> list[Remote] | None:
    """The files that were noted for `name`; None where there is no sound note."""
    match read(place / f"{name}.json"):
        case {"files": [*entries]}:
            try:
                return [Remote(str(e["path"]), int(e["size"]), str(e["check"])) for e in entries]
            except (KeyError, TypeError, ValueError):
                return None
    return None


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Replaces the note at `path` in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.write_bytes(canonical_bytes(document))
    draft.replace(path)


def read(path: Path) -> Any:
    """The note at `path`; None where there is none."""
    try:
        return parse_json(path.read_bytes(), where=str(path))
    except (OSError, DocumentError):
        return None


def remove_others(folder: Path, files: Sequence[Remote]) -> None:
    """Removes from a staging folder what its version does not have; download bookkeeping stays (intake ignores it)."""
    wanted = {file.path for file in files}
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder).as_posix()
        if relative.startswith(".cache") or relative in wanted:
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
