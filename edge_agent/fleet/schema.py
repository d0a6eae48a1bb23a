"""The tables in PostgreSQL, brought to this version: numbered files, each in a transaction of its own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple, cast

import psycopg

from edge_agent.errors import Fatal
from edge_agent.fleet.database import Connection

FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x6564676501
"""Of the advisory lock under which one process at a time migrates."""

_log = logging.getLogger("edge_agent.fleet")


class Migration(NamedTuple):
    number: int
    name: str
    sql: str


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """`NNNN_name.sql`, in order; numbers are dense from 1."""
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    assert [m.number for m in found] == list(range(1, len(found) + 1)), f"migrations in {folder} are not dense"
    return found


def migrate(connection: Connection, wanted: list[Migration] | None = None) -> int:
    """Applies what is missing and returns the version. Raises Fatal where the tables are of a newer version."""
    wanted = migrations() if wanted is None else wanted
    connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    try:
        version = _version(connection)
        if version > len(wanted):
            hint = "upgrade this ingest; tables are never taken back to an older version"
            raise Fatal(f"the database has version {version} of the tables, this code knows {len(wanted)}", hint=hint)
        for migration in wanted[version:]:
            _apply(connection, migration)
    finally:
        if not connection.broken:
            connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))
    return len(wanted)


def _version(connection: Connection) -> int:
    found = connection.execute("select to_regclass('edge.migration') is not null").fetchone()
    if found == (True,):
        row = connection.execute("select coalesce(max(number), 0) from edge.migration").fetchone()
        assert row is not None
        return int(cast("int", row[0]))
    with connection.transaction():
        connection.execute("create schema if not exists edge")
        connection.execute(
            "create table edge.migration"
            " (number integer primary key, name text not null, applied timestamptz not null default now())"
        )
    return 0


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute("set local statement_timeout = 0")
            connection.execute(migration.sql.encode())
            connection.execute(
                "insert into edge.migration (number, name) values (%s, %s)", (migration.number, migration.name)
            )
    except psycopg.errors.InsufficientPrivilege:
        raise  # the connection has words for it
    except psycopg.ProgrammingError as e:
        hint = "was the schema edge changed by hand? the database is as it was before"
        message = f"migration {migration.number} ({migration.name}): {e.diag.message_primary or e}"
        raise Fatal(message, hint=hint) from e
    _log.info("the tables are now of version %d (%s)", migration.number, migration.name)


def _read(path: Path) -> Migration:
    number, _, name = path.stem.partition("_")
    return Migration(int(number), name, path.read_text(encoding="utf-8"))
