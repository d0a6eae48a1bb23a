"""Exported records as CSV, JSON lines or an SQLite file, one at a time."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge_agent.errors import Fatal

if TYPE_CHECKING:
    from edge_agent.store.exporting import Export, Record

FIXED = ("time", "time_quality", "stream", "epoch", "seq")
_TAKEN = frozenset({*FIXED, "quality"})
_FIELD = "field:"
_LARGEST = (1 << 63) - 1
_BATCH = 2000


class _Names:
    """Names as SQLite takes them: it sees no difference between `Temp` and `temp`, and keeps some for itself."""

    def __init__(self, prefix: str, taken: frozenset[str] = frozenset(), kept: tuple[str, ...] = ()) -> None:
        self._prefix = prefix
        self._taken = set(taken)
        self._kept = kept
        self._given: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """The same for the same name, another for any other."""
        given = self._given.get(name)
        if given is None:
            given = name
            while given.lower() in self._taken or given.lower().startswith(self._kept):
                given = self._prefix + given
            self._given[name] = given
            self._taken.add(given.lower())
        return given


def iso(t_ms: int | None) -> str:
    """`2026-11-28T08:00:00.250Z`; empty where nobody knows, or no calendar has it."""
    if t_ms is None:
        return ""
    try:
        at = datetime.fromtimestamp(t_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return at.replace(microsecond=t_ms % 1000 * 1000).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_csv(export: Export, taken: Iterator[Record], file: IO[str]) -> int:
    """A column for each field and unit, which takes a look at all rows before; `quality` names fields that are not
    good. Returns how many records."""
    columns = [column_of(name, unit) for name, unit in export.columns()]
    names = [*FIXED, *dict.fromkeys(columns), "quality"]
    writer = csv.DictWriter(file, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    return _each(taken, lambda record: writer.writerow(_flat(record)))


def write_jsonl(taken: Iterator[Record], file: IO[str]) -> int:
    """An object a line: `fields`, their `units` and, where one is not good, `quality`."""

    def write(record: Record) -> None:
        document: dict[str, Any] = {**_key(record), "fields": record.fields}
        if record.units:
            document["units"] = record.units
        if record.quality:
            document["quality"] = record.quality
        file.write(json.dumps(document) + "\n")

    return _each(taken, write)


def write_sqlite(taken: Iterator[Record], path: Path) -> int:
    """A table a stream, with columns as in the CSV; an integer beyond SQLite's 64 bits is a text. Raises OSError for
    a disk that is full, Fatal for what SQLite does not take."""
    from sqlite_utils import Database

    count = 0
    tables = _Names("stream:", kept=("sqlite_",))
    columns: dict[str, _Names] = {}
    db = Database(path)
    with closing(db.conn):
        while some := list(itertools.islice(taken, _BATCH)):
            by_stream: dict[str, list[dict[str, Any]]] = {}
            for record in some:
                names = columns.setdefault(record.stream, _Names(_FIELD, _TAKEN))
                by_stream.setdefault(record.stream, []).append(_for_sqlite(record, names))
            for stream, rows in by_stream.items():
                with _told(stream):
                    db.table(tables[stream]).insert_all(rows, alter=True)
            count += len(some)
    return count


def _for_sqlite(record: Record, names: _Names) -> dict[str, Any]:
    return {
        column if column in _TAKEN else names[column]: str(v) if isinstance(v, int) and abs(v) > _LARGEST else v
        for column, v in _flat(record).items()
    }


@contextmanager
def _told(stream: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as e:  # ValueError: more columns than a table has, half a surrogate pair
        if getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from e
        hint = "export it as --format csv or jsonl, or another --stream"
        raise Fatal(f"{stream} cannot be written as a table of SQLite: {e}", hint=hint) from e


def column_of(name: str, unit: str) -> str:
    """`temp [Cel]`; `field:seq` for a field that is called as a column of the record's own."""
    column = f"{name} [{unit}]" if unit else name
    return _FIELD + column if column.lower() in _TAKEN or column.lower().startswith(_FIELD) else column


def text_over(binary: IO[bytes]) -> io.TextIOWrapper:
    """UTF-8, the same line ends everywhere; what is no Unicode is escaped."""
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="", write_through=False)


def _each(taken: Iterator[Record], write: Callable[[Record], object]) -> int:
    count = 0
    for record in taken:
        write(record)
        count += 1
    return count


def _key(record: Record) -> dict[str, Any]:
    at = iso(record.t_ms)
    return dict(zip(FIXED, (at or None, record.time, record.stream, record.epoch, record.seq), strict=True))


def _flat(record: Record) -> dict[str, Any]:
    values = {
        column_of(name, record.units.get(name, "")): json.dumps(value) if isinstance(value, list) else value
        for name, value in record.fields.items()
    }
    quality = " ".join(f"{name}={word}" for name, word in record.quality.items())
    return {**values, **_key(record), "quality": quality}
