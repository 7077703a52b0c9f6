"""A private copy of a workspace's database, for a user who may read the workspace and not write it.

SQLite cannot open a database in WAL mode in a folder where it may not make its files. Opened as immutable it would
leave out what stands in the log, a withdrawal for example. So database and log are copied, as they were at one moment,
and the copy is opened.
"""

import os
import shutil
import tempfile
from pathlib import Path

from peft_assay.core.errors import StorageError
from peft_assay.store.errors import storage_errors

TRIES = 20


def only_readable(database: Path) -> bool:
    """Whether `database` is there, and this user may write neither its folder nor, therefore, the files beside it."""
    return database.is_file() and not (os.access(database.parent, os.W_OK) and os.access(database, os.W_OK))


def snapshot(database: Path) -> Path:
    """Return the path of a copy of `database` in a folder of its own, which the caller removes.

    Raises StorageError where it cannot be read, or is written again and again while it is copied.
    """
    with storage_errors(database):
        folder = Path(tempfile.mkdtemp(prefix="peft-assay-"))
    try:
        with storage_errors(database):
            for _ in range(TRIES):
                before = _state(database)
                for part in (database, _log(database)):
                    (folder / part.name).unlink(missing_ok=True)
                    if part.is_file():
                        shutil.copyfile(part, folder / part.name)
                if before == _state(database):
                    return folder / database.name
        raise StorageError("it is being written without a pause", where=str(database), next_step="run it again")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove(copied: Path | None) -> None:
    """Remove a copy that `snapshot` made, with its folder."""
    if copied is not None:
        shutil.rmtree(copied.parent, ignore_errors=True)


def _log(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _state(database: Path) -> list[tuple[int, int, int] | None]:
    """What changes with each write to the database or its log."""
    found = [part.stat() if part.is_file() else None for part in (database, _log(database))]
    return [None if one is None else (one.st_ino, one.st_size, one.st_mtime_ns) for one in found]
