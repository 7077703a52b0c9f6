"""The edge of the room: what databases and file systems raise becomes a StorageError that says what to do."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from peft_assay.core.errors import StorageError

_LOST = (
    "put the whole .peft-assay folder back from a copy; without one move it away, peft-assay init, and certify again: "
    "withdrawals and waivers are lost with it"
)
_COPY = (
    "make the workspace writable for this user, or copy the whole .peft-assay folder to where you may write, and name "
    "the folder that holds the copy: --workspace DIR"
)
_STEPS = {
    errno.ENOSPC: "free some disk space; nothing was half-written",
    errno.EDQUOT: "free some of your quota; nothing was half-written",
    errno.EACCES: _COPY,
    errno.EPERM: _COPY,
    errno.EROFS: _COPY,
}


_SAID = {
    "full": _STEPS[errno.ENOSPC],
    "readonly": _COPY,
    "unable to open": _COPY,
    "not a database": _LOST,
    "malformed": _LOST,
    "locked": "let the other command that writes here end, then run it again",
}
"""What SQLite says, and what to do about it."""


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turns OSError and database errors into StorageError about `where`."""
    try:
        yield
    except OSError as error:
        step = _STEPS.get(error.errno or 0)
        raise StorageError(error.strerror or "input/output error", where=str(where), next_step=step) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = str(getattr(error, "orig", None) or error)
        step = next((step for words, step in _SAID.items() if words in cause), None)
        raise StorageError(f"the database refuses: {cause}", where=str(where), next_step=step) from error
