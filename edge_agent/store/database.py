"""The SQLite file: its schema, its settings, and its errors in the agent's own classes.

One connection writes and owns every checkpoint; all others are read-only. Settings that SQLite does not keep in
the file are made at every open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.errors import Retryable
from edge_agent.links.holders import lock_holders

APPLICATION_ID = 0x45444741
"""`EDGA`."""
SCHEMA_VERSION = 1
PAGE_BYTES = 1024
SQLITE_VERSION = sqlite3.sqlite_version
MIN_QUOTA_BYTES = 512 * 1024
_WAL_FRAME_BYTES = PAGE_BYTES + 24
_READ_MARKS = range(123, 128)
"""Bytes of the -shm that are locked by who reads (sqlite.org/walformat.html, section 2.3)."""

_ROW = "id INTEGER PRIMARY KEY, epoch INT, kind TEXT, key TEXT, n INT, crc INT, head BLOB, body BLOB"
SCHEMA = {
    "meta": "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
    "epoch": "CREATE TABLE epoch(no INTEGER PRIMARY KEY, id TEXT, boot TEXT, wall_ms INT)",
    "row0": f"CREATE TABLE row0({_ROW})",
    "row1": f"CREATE TABLE row1({_ROW})",
    "row2": f"CREATE TABLE row2({_ROW})",
    "dead": "CREATE TABLE dead(id INTEGER PRIMARY KEY, prio INT, row INT, code TEXT, reason TEXT, epoch INT,"
    " kind TEXT, key TEXT, n INT, crc INT, head BLOB, body BLOB)",
}
ROW_TABLES = ("row0", "row1", "row2")
"""By priority."""


class Full(Retryable):
    """No room on the volume, or under the page cap."""


class Damaged(Retryable):
    """The file is not what SQLite or the agent wrote."""


class Limits(msgspec.Struct, frozen=True):
    """What a quota of bytes, the -wal included, means in pages."""

    quota_bytes: int

    @property
    def wal_bytes(self) -> int:
        return min(16 * 1024 * 1024, self.quota_bytes // 4)

    @property
    def checkpoint_pages(self) -> int:
        """4 MB of frames: rarer checkpoints write little less."""
        return min(4000, self.wal_bytes // 2 // _WAL_FRAME_BYTES)

    @property
    def max_pages(self) -> int:
        return (self.quota_bytes - self.wal_bytes) // PAGE_BYTES


class Database:
    """One connection. Used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._most_pages = 0
        self._store: bytes | None = None

    @property
    def store(self) -> bytes:
        """The store's id; empty where the file does not give it."""
        if self._store is None:
            found = self.one("SELECT value FROM meta WHERE key = 'store'")
            self._store = found if isinstance(found, bytes) else b""
        return self._store

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Row by row; the read transaction ends when the iterator is closed or exhausted."""
        with translated(self.path):
            cursor = self._connection.execute(sql, parameters)
            try:
                yield from cursor
            finally:
                cursor.close()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first column of the first row, None where there is none."""
        rows = self.query(sql, parameters)
        return rows[0][0] if rows else None

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """How many rows it changed."""
        with translated(self.path):
            return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, parameters: Sequence[Sequence[object]]) -> None:
        with translated(self.path):
            self._connection.executemany(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Committed, and on the disk, when the block ends; rolled back when it raises."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # the first error is the one to know
                self._connection.rollback()
            raise

    def pages(self) -> int:
        """Of the file, the -wal not counted."""
        return int(self.one("PRAGMA page_count"))

    def used_pages(self) -> int:
        """Pages that hold something; freed ones are used again before the file grows."""
        return self.pages() - int(self.one("PRAGMA freelist_count"))

    def allow_pages(self, most: int) -> None:
        """Writing fails as Full before the file has more pages than that."""
        if most != self._most_pages:
            self._most_pages = most
            self.execute(f"PRAGMA max_page_count={most}")

    def checkpoint(self) -> None:
        """Everything into the file, and the -wal empty, unless a reader still needs it."""
        self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with translated(self.path):
            self._connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as Full, Damaged or Retryable; what is a mistake of the caller stays as it is.

    What Python cannot read of SQLite's answers, such as a table's name that is no UTF-8, is Damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and isinstance(error, sqlite3.ProgrammingError):
            raise
        raise _classed(path, sqlite3.SQLITE_CORRUPT if code is None else code & 0xFF, error) from error
    except UnicodeDecodeError as error:
        raise _classed(path, sqlite3.SQLITE_CORRUPT, error) from error


def open_writer(path: Path, limits: Limits) -> Database:
    """The one connection that writes. The file exists and is ours."""
    return _opened(
        path,
        partial(sqlite3.connect, path),
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "mmap_size=0",
        "temp_store=MEMORY",
        "secure_delete=OFF",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={limits.wal_bytes}",
        f"wal_autocheckpoint={limits.checkpoint_pages}",
        f"max_page_count={limits.max_pages}",
    )


def open_reader(path: Path, *, immutable: bool = False) -> Database:
    """A connection that can change nothing; `immutable` ignores the -wal and is right only where there is none."""
    uri = f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=ro'}"
    return _opened(
        path,
        partial(sqlite3.connect, uri, uri=True),
        "query_only=ON",
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "mmap_size=0",
        "cache_size=-512",
    )


def _opened(path: Path, connect: Callable[..., sqlite3.Connection], *pragmas: str) -> Database:
    """Closed again when it fails: a connection left over would share its view of the -wal with the next one."""
    with translated(path):
        connection = connect(isolation_level=None, check_same_thread=False, timeout=5.0)
        connection.text_factory = _text  # a row's checksum says that it is damaged, not its first reader's traceback
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return Database(path, connection)


def writers(path: Path) -> list[str]:
    """Other programs that keep everybody else from writing, as far as can be seen."""
    return [name for file in (path, _shm_of(path)) for name in lock_holders(file, lambda lock: lock.kind == "WRITE")]


def readers(path: Path) -> list[str]:
    """Other programs that are in the middle of reading, as far as can be seen."""
    return lock_holders(_shm_of(path), lambda lock: lock.first in _READ_MARKS)


def _shm_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def create(path: Path, meta: dict[str, bytes]) -> None:
    """A new, empty store at a path that does not exist. Nothing of it is in a -wal afterwards.

    It is in WAL mode from the beginning: were the mode changed under its real name, a power cut there would leave
    a -journal that no read-only connection can look past.
    """
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def play_journal_back(path: Path) -> None:
    """Undoes the transaction that a -journal beside the file says was cut off."""
    with translated(path), closing(sqlite3.connect(path, isolation_level=None, timeout=5.0)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _classed(path: Path, code: int, error: sqlite3.DatabaseError | UnicodeDecodeError) -> Retryable:
    """By SQLite's primary result code."""
    text = f"{path}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return Full(text, hint="make room on the volume, or raise store.quota")
    # no statement of ours breaks a constraint on a file that is in order: its index says what its rows do not
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
        return Damaged(text, hint="the agent moves it aside, goes on in a new file, and takes over what is whole")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        who = ", ".join(writers(path)) or "another program"
        return Retryable(text, hint=f"{who} holds a lock on {path.name}: end it, or wait until it has ended")
    return Retryable(text, hint=f"check the volume that holds {path.parent}: mount, permissions, dmesg")
