"""The database: SQLite with durable settings, migrated to the schema that this version knows."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, column, create_engine, event, inspect, select, table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from peft_assay.core.errors import StorageError, UsageError

BUSY_SECONDS = 30
WRITE = "peft_assay_write"
"""Execution option: whether a transaction takes the write lock from its first statement."""
_MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0002"
"""Revision of the newest of them."""
_VERSION = table("alembic_version", column("version_num"))
"""In which alembic keeps a database's revision (alembic.sqlalchemy.org, "The Migration Environment")."""


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
    tables = inspect(connection).get_table_names()
    current = connection.execute(select(_VERSION.c.version_num)).scalar() if _VERSION.name in tables else None
    if current == HEAD:
        return
    where = connection.engine.url.render_as_string()
    if current is None and tables:
        raise StorageError("a database of another program", where=where, next_step="use another workspace")
    from alembic import command  # takes a while to import, and nearly all databases are up to date
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    known = {revision.revision for revision in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if current is not None and current not in known:
        raise StorageError(
            f"written by a newer version of peft-assay (schema {current})", where=where, next_step="upgrade peft-assay"
        )
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(f"the database cannot be brought up to date: {error}", where=where) from error


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("begin immediate" if write else "begin")
