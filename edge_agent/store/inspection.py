"""Is what lies at the database's path our store, and in order? Asked before anything is opened for writing.

The answer does not change the file: it comes from the header's bytes and from a read-only connection, which applies
a -wal only in its own view. One thing has to be done first: a -journal, which only another program can have left,
is played back as SQLite prescribes, because a read-only connection refuses the file until it is.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from edge_agent.errors import Fatal
from edge_agent.store import database
from edge_agent.store.identity import Identity
from edge_agent.store.recovery import refuse_others

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100


def why_not(path: Path, identity: Identity | None) -> str:
    """Why the file at `path` cannot be used as the store; empty where it can.

    `missing`, `empty`, `corrupt`, `foreign`, `mismatch` (another store's content) or `schema` (changed by hand).
    Raises Fatal for a newer schema and for a file that is not safely ours, Retryable where it cannot be read now.
    """
    refuse_strange(path)
    refuse_strange(wal_of(path))
    refuse_strange(_journal_of(path))
    if not path.exists():
        return "missing"
    if identity is not None and identity.damaged:
        return "corrupt"
    return _wrong_header(path) or _wrong_content(path, identity)


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def bytes_of(path: Path) -> int:
    """0 where there is no such file."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def refuse_strange(path: Path) -> None:
    """Raises Fatal for a link, a special file, a file with a second name, or another user's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISREG(found.st_mode):
        raise Fatal(f"{path} is not a regular file", hint="move it away: the store is never a link or a device")
    if found.st_nlink > 1:
        raise Fatal(f"{path} has {found.st_nlink} names (hard links)", hint="remove the others, or copy the file")
    if found.st_uid != os.geteuid():
        raise Fatal(
            f"{path} belongs to user {found.st_uid}, the agent runs as {os.geteuid()}",
            hint="chown the data directory to the agent's user, or run the agent as the owner",
        )


def _wrong_header(path: Path) -> str:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return "empty"
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return "corrupt"
    version, application = struct.unpack_from(">I4xI", header, 60)
    if application != database.APPLICATION_ID:
        return "foreign"
    if version > database.SCHEMA_VERSION:
        raise Fatal(
            f"{path} was written by a newer agent (schema {version}, this one knows {database.SCHEMA_VERSION})",
            hint="install the newer agent again; the file was not touched",
        )
    (page_bytes,) = struct.unpack_from(">H", header, 16)
    return "" if page_bytes == database.PAGE_BYTES and set(header[18:20]) <= {1, 2} else "corrupt"


def _wrong_content(path: Path, identity: Identity | None) -> str:
    try:
        if _journal_of(path).exists():
            database.play_journal_back(path)
        reader = database.open_reader(path)
        try:
            tables = reader.query("SELECT name, sql FROM sqlite_schema")
            if dict(tables) != database.SCHEMA:
                return "schema"
            store = reader.store
            refuse_others(reader)
        finally:
            reader.close()
    except database.Damaged:
        return "corrupt"
    if identity is not None and store != identity.store.encode():
        return "mismatch"
    return ""
