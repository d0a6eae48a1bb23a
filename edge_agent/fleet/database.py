"""The connection to PostgreSQL: how it is made, and words for why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from edge_agent.config.secrets import read_secret
from edge_agent.errors import ExitCode, Fatal, Retryable

Connection = psycopg.Connection[tuple[object, ...]]

OLDEST = 14
"""Multiranges, which the completeness view is made of, came with PostgreSQL 14."""
CONNECT_S = 5
STATEMENT_S = 20
USER_TIMEOUT_MS = 10_000
_APPLICATION = "edge-agent-ingest"
_NAMES = 0x65646765
"""The space of advisory locks in which an ingest holds its name ("edge")."""


class DatabaseSettings(msgspec.Struct, frozen=True):
    """`conninfo` is libpq's, a URL or key=value words, without a password; that is a file or `credential:NAME`, read
    at every connection."""

    conninfo: str
    password_file: str | None = None

    @property
    def where(self) -> str:
        """Who connects to what, without secrets."""
        words = conninfo_to_dict(self.conninfo)
        host, port = words.get("host") or "the local socket", words.get("port") or "5432"
        return f"{words.get('dbname') or words.get('user') or 'the default database'} at {host}:{port}"


def check_conninfo(conninfo: str) -> None:
    """Raises Fatal for what libpq cannot read, and for a password in it: every user of the machine can see those."""
    try:
        words = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as e:
        hint = "such as postgresql://edge@db.example/edge, or host=db.example user=edge dbname=edge"
        raise Fatal(f"--database: {str(e).strip()}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e
    if "password" in words:
        hint = "put it into a file of mode 0600 and give --database-password-file, or use a pgpass file"
        raise Fatal("--database has a password in it", hint=hint, exit_code=ExitCode.CONFIGURATION)


@contextmanager
def connected(settings: DatabaseSettings) -> Iterator[Connection]:
    """A connection in autocommit, closed at the end. What the server or the network does is raised as Retryable,
    a refusal that a person has to mend as Fatal; programming errors pass."""
    with translated(settings.where):
        connection = _connect(settings)
    try:
        with translated(settings.where):
            yield connection
    finally:
        connection.close()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """The library's errors in the house's classes."""
    try:
        yield
    except errors.InsufficientPrivilege as e:
        hint = "let the role create in the database once, or own the schema edge: grant create on database … to …"
        raise Fatal(f"{where}: {_said(e)}", hint=hint) from e
    except (errors.QueryCanceled, errors.LockNotAvailable) as e:
        hint = "is it overloaded or locked? select * from pg_stat_activity"
        raise Retryable(f"{where} takes longer than {STATEMENT_S} s: {_said(e)}", hint=hint) from e
    except (errors.DiskFull, errors.OutOfMemory, errors.TooManyConnections) as e:
        raise Retryable(f"{where}: {_said(e)}", hint="make room on the database server") from e
    except psycopg.OperationalError as e:
        raise Retryable(f"no connection to {where}: {_said(e)}", hint="is the server running? see its log") from e


def hold_name(connection: Connection, name: str) -> None:
    """No second ingest with this name: it would take this one's place at the broker again and again.

    Raises Retryable while another holds it; a process that ends gives it back.
    """
    row = connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (_NAMES, name)).fetchone()
    if row != (True,):
        hint = "give each process its own --name; of one that has just died, the server lets go within seconds"
        raise Retryable(f'an ingest named "{name}" is connected to this database already', hint=hint)


def _connect(settings: DatabaseSettings) -> Connection:
    words: dict[str, str | int] = {
        "connect_timeout": CONNECT_S, "tcp_user_timeout": USER_TIMEOUT_MS, "application_name": _APPLICATION,
        # the acknowledgement that follows a commit says that it is on disk
        "options": f"-c synchronous_commit=on -c statement_timeout={STATEMENT_S}s -c lock_timeout=5s",
    }  # fmt: skip
    given = conninfo_to_dict(settings.conninfo)
    conninfo = make_conninfo(settings.conninfo, **{k: v for k, v in words.items() if k not in given})
    if settings.password_file:
        conninfo = make_conninfo(conninfo, password=read_secret(settings.password_file).reveal())
    try:
        connection: Connection = psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as e:
        raise _refusal(settings, conninfo, e) from e
    if connection.info.server_version < OLDEST * 10_000:
        version = connection.info.server_version // 10_000
        connection.close()
        raise Fatal(f"{settings.where} is PostgreSQL {version}", hint=f"PostgreSQL {OLDEST} or newer is needed")
    return connection


def _refusal(settings: DatabaseSettings, conninfo: str, error: psycopg.OperationalError) -> Retryable | Fatal:
    """Whether a server is there is asked by the protocol's own ping: libpq has no code for a refused connection."""
    where, said = settings.where, _said(error)
    if pq.PGconn.ping(conninfo.encode()) != pq.Ping.OK:
        return Retryable(f"no database server for {where}: {said}", hint="is it running? check host and port")
    failed = error.pgconn
    if failed is not None and failed.needs_password:
        return Fatal(f"{where} wants a password: {said}", hint="give --database-password-file")
    # no code tells a wrong password from a database that is not there; the server's words do
    hint = "check the user and --database-password-file; is the database there (createdb)? see pg_hba.conf"
    return Fatal(f"{where} refuses: {said}", hint=hint)


def _said(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    return " ".join(text.split()) or type(error).__name__
