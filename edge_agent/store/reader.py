"""The store as it lies on the disk, for a person: beside a running agent or without one. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_agent.contract import decode, messages
from edge_agent.contract.rows import PRIORITIES
from edge_agent.errors import Fatal, Rejected, Retryable
from edge_agent.store import database
from edge_agent.store.aside import DATABASE, asides
from edge_agent.store.database import ROW_TABLES, Database
from edge_agent.store.inspection import bytes_of, wal_of
from edge_agent.store.recovery import Note, recover
from edge_agent.store.settled import Outgoing


class PriorityView(msgspec.Struct, frozen=True):
    """`waiting` is what was not delivered yet; `*_ms` are UTC as the rows have it, None where there is no row."""

    prio: int
    rows: int
    readings: int
    waiting_rows: int
    waiting_readings: int
    oldest_waiting_ms: int | None
    oldest_ms: int | None
    newest_ms: int | None


class EpochView(msgspec.Struct, frozen=True):
    start_no: int
    epoch: str
    boot: str
    started_ms: int


class GapView(msgspec.Struct, frozen=True):
    """One declared loss; `count` numbers from `first` on."""

    stream: str
    epoch: str
    first: int
    count: int
    reason: str


class StoreView(msgspec.Struct, frozen=True):
    """`opened` is `read-only`, or `immutable` where no agent runs and the folder may not be written to."""

    opened: str
    sqlite: str
    database_bytes: int
    wal_bytes: int
    aside: list[str]
    priorities: list[PriorityView]
    last: dict[str, int]
    """By stream: the highest number of the newest epoch."""
    epochs: list[EpochView]
    decisions: list[messages.Decided]
    alerts: list[messages.Alerted]
    gaps: list[GapView]
    dead_letters: int


def view_store(directory: Path, *, recent: int = 10) -> StoreView:
    """Newest first; at most `recent` epochs, decisions, alerts and gap records.

    Raises Retryable where there is no store or it cannot be read, Fatal for one that is not ours or newer.
    """
    path = directory / DATABASE
    with opened(path) as (db, how):
        note = recover(db)
        return StoreView(
            opened=how,
            sqlite=str(db.one("SELECT sqlite_version()")),
            database_bytes=bytes_of(path),
            wal_bytes=bytes_of(wal_of(path)),
            aside=[found.name for found in asides(directory)],
            priorities=[priority_view(db, prio, note) for prio in PRIORITIES],
            last=note.last,
            epochs=[
                EpochView(*row)
                for row in db.query("SELECT no, id, boot, wall_ms FROM epoch ORDER BY no DESC LIMIT ?", (recent,))
            ],
            decisions=[m for m in _newest(db, "decision", recent) if isinstance(m, messages.Decided)],
            alerts=[m for m in _newest(db, "alert", recent) if isinstance(m, messages.Alerted)],
            gaps=list(_gaps(db, recent)),
            dead_letters=db.one("SELECT count(*) FROM dead"),
        )


@contextmanager
def opened(path: Path) -> Iterator[tuple[Database, str]]:
    """A connection that can change nothing, and how: `read-only`, or `immutable` where no agent runs and the folder
    may not be written to.

    Raises Retryable where there is nothing or it cannot be read, Fatal for a file that is not ours or newer.
    """
    if not path.exists():
        raise Retryable(f"there is no store at {path}", hint="check agent.data_dir, and that the agent has run once")
    try:
        db, how = _ours(path, immutable=False), "read-only"
    except Retryable:
        if bytes_of(wal_of(path)):
            raise
        db, how = _ours(path, immutable=True), "immutable"
    try:
        yield db, how
    finally:
        db.close()


def _ours(path: Path, *, immutable: bool) -> Database:
    db = database.open_reader(path, immutable=immutable)
    try:
        _check_ours(db)
    except BaseException:
        db.close()
        raise
    return db


def _check_ours(db: Database) -> None:
    if db.one("PRAGMA application_id") != database.APPLICATION_ID:
        raise Fatal(f"{db.path} is not a store of this agent", hint="check agent.data_dir")
    version = db.one("PRAGMA user_version")
    if version > database.SCHEMA_VERSION:
        raise Fatal(f"{db.path} is of a newer agent (schema {version})", hint="use that agent's own command")


def priority_view(db: Database, prio: int, note: Note) -> PriorityView:
    table = ROW_TABLES[prio]
    rows, readings, oldest, newest = db.query(f"SELECT count(*), total(n), min(id), max(id) FROM {table}")[0]  # noqa: S608
    waiting_rows = waiting_readings = 0
    first_waiting: int | None = None
    outgoing = Outgoing()
    outgoing.restore(note.settled)
    outgoing.committed(note.newest)
    for first, last in outgoing.waiting(prio):
        count, n, lowest = db.query(
            f"SELECT count(*), total(n), min(id) FROM {table} WHERE id BETWEEN ? AND ?",  # noqa: S608
            (first, last),
        )[0]
        waiting_rows += count
        waiting_readings += int(n)
        first_waiting = lowest if first_waiting is None else first_waiting
    return PriorityView(
        prio,
        rows,
        int(readings),
        waiting_rows,
        waiting_readings,
        time_of(db, table, first_waiting),
        time_of(db, table, oldest),
        time_of(db, table, newest),
    )


def time_of(db: Database, table: str, row_id: int | None) -> int | None:
    """None also where the row is damaged or a ledger entry, which has no time."""
    body = None if row_id is None else db.one(f"SELECT body FROM {table} WHERE id = ?", (row_id,))  # noqa: S608
    if body is None:
        return None
    try:
        message = decode.decode_row(body)
    except Rejected:
        return None
    if isinstance(message, messages.Tele):
        return message.t0
    return message.t if isinstance(message, messages.Infer | messages.Decided | messages.Alerted) else None


def _newest(db: Database, kind: str, limit: int) -> Iterator[messages.RowMessage]:
    """Damaged rows are left out: they are declared when they are read for sending."""
    rows = db.query(f"SELECT body FROM {ROW_TABLES[0]} WHERE kind = ? ORDER BY id DESC LIMIT ?", (kind, limit))  # noqa: S608
    for (body,) in rows:
        try:
            yield decode.decode_row(body)
        except Rejected:
            continue


def _gaps(db: Database, limit: int) -> Iterator[GapView]:
    for message in _newest(db, "ledger", limit):
        if isinstance(message, messages.GapMessage):
            for stream, epoch, first, last, reason in decode.lost(message):
                yield GapView(stream, epoch, first, last - first + 1, reason)
