"""Exported records as CSV, JSON lines or an SQLite file, one at a time."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_agent.store.exporting import Export, Record

FIXED = ("time", "time_quality", "stream", "epoch", "seq")
_BATCH = 2000


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
    """A table a stream, with columns as in the CSV."""
    from sqlite_utils import Database

    count = 0
    db = Database(path)
    with closing(db.conn):
        while some := list(itertools.islice(taken, _BATCH)):
            by_stream: dict[str, list[dict[str, Any]]] = {}
            for record in some:
                by_stream.setdefault(record.stream, []).append(_flat(record))
            for stream, rows in by_stream.items():
                db.table(stream).insert_all(rows, alter=True)
            count += len(some)
    return count


def column_of(name: str, unit: str) -> str:
    """`temp [Cel]`."""
    return f"{name} [{unit}]" if unit else name


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
