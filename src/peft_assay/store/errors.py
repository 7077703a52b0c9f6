"""The edge of the room: what databases and file systems raise becomes a StorageError that says what to do."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from peft_assay.core.errors import StorageError

_STEPS = {
    errno.ENOSPC: "free some disk space; nothing was half-written",
    errno.EDQUOT: "free some of your quota; nothing was half-written",
    errno.EACCES: "make the workspace writable for this user",
    errno.EPERM: "make the workspace writable for this user",
    errno.EROFS: "use a workspace on a writable file system",
}


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turns OSError and database errors into StorageError about `where`."""
    try:
        yield
    except OSError as error:
        step = _STEPS.get(error.errno or 0)
        raise StorageError(error.strerror or "input/output error", where=str(where), next_step=step) from error
    except (SQLAlchemyError, sqlite3.Error, CommandError) as error:
        cause = getattr(error, "orig", None) or error
        step = _STEPS[errno.ENOSPC] if "full" in str(cause) else None
        raise StorageError(f"the database refuses: {cause}", where=str(where), next_step=step) from error
