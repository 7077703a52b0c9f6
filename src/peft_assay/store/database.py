"""The database: SQLite with durable settings, migrated to the schema that this version knows."""

import sqlite3
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from peft_assay.core.errors import StorageError, UsageError

BUSY_SECONDS = 30
WRITE = "peft_assay_write"
"""Execution option: whether a transaction takes the write lock from its first statement."""
_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str) -> Engine:
    """An engine whose every commit is durable when it returns; `WRITE` says which transactions write.

    Raises UsageError for a URL that is not SQLite's: other databases await their append-only triggers.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError("not a database URL", where=url, next_step="use sqlite:////absolute/path.db") from None
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise UsageError("only SQLite is supported so far", where=parsed.render_as_string(), next_step="use sqlite:///")
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def migrate(connection: Connection) -> None:
    """Brings the schema up to this version's, inside the caller's transaction.

    Raises StorageError for a database that is not ours or that a newer version has written.
    """
    script = ScriptDirectory(str(_MIGRATIONS))
    known = {revision.revision for revision in script.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    where = connection.engine.url.render_as_string()
    if current is None and inspect(connection).get_table_names():
        raise StorageError("a database of another program", where=where, next_step="use another workspace")
    if current is not None and current not in known:
        raise StorageError(
            f"written by a newer version of peft-assay (schema {current})", where=where, next_step="upgrade peft-assay"
        )
    if current == script.get_current_head():
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("begin immediate" if write else "begin")
