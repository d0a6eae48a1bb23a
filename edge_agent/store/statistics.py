"""What a store holds and how it is used, counted from the rows' heads; no body is inflated."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.contract.rows import PRIORITIES
from edge_agent.errors import Rejected
from edge_agent.store.checking import SILENT, Progress
from edge_agent.store.database import PAGE_BYTES, ROW_TABLES, Database
from edge_agent.store.head import decode_head, ledger_body
from edge_agent.store.inspection import bytes_of, wal_of
from edge_agent.store.opening import asides
from edge_agent.store.reader import PriorityView, opened, priority_view
from edge_agent.store.recovery import recover
from edge_agent.store.walking import walk


class StreamUse(msgspec.Struct, frozen=True):
    """`bytes` is the stream's share of its rows' bodies, by readings."""

    stream: str
    rows: int
    readings: int
    bytes: int
    epochs: int


class Aside(msgspec.Struct, frozen=True):
    name: str
    bytes: int


class Statistics(msgspec.Struct, frozen=True):
    """`body_bytes_per_day` is over the time that the rows span, None where that is less than a minute."""

    opened: str
    database_bytes: int
    wal_bytes: int
    free_bytes: int
    priorities: list[PriorityView]
    body_bytes: list[int]
    """By priority."""
    streams: list[StreamUse]
    epochs: int
    gaps: dict[str, int]
    """By reason: numbers that records in this store declare."""
    dead_letters: dict[str, int]
    """By code."""
    aside: list[Aside]
    unreadable_rows: int
    span_s: float | None
    body_bytes_per_day: int | None


def statistics_of(path: Path, progress: Progress = SILENT) -> Statistics:
    """Raises Retryable where there is no store, Damaged where it cannot be read to its end, Fatal where it is not
    ours."""
    with opened(path) as (db, how):
        note = recover(db)
        progress.began(sum(note.newest))
        count = _Count(db, progress)
        for prio in PRIORITIES:
            count.table(prio, note.newest[prio])
        priorities = [priority_view(db, prio, note) for prio in PRIORITIES]
        span_s = _span_s(priorities)
        per_day = None if span_s is None else round(sum(count.body_bytes) / span_s * 86400)
        return Statistics(
            opened=how,
            database_bytes=bytes_of(path),
            wal_bytes=bytes_of(wal_of(path)),
            free_bytes=(db.pages() - db.used_pages()) * PAGE_BYTES,
            priorities=priorities,
            body_bytes=count.body_bytes,
            streams=count.streams(),
            epochs=db.one("SELECT count(*) FROM epoch"),
            gaps=count.gaps,
            dead_letters=dict(db.query("SELECT code, count(*) FROM dead GROUP BY code ORDER BY code")),
            aside=[Aside(found.name, bytes_of(found)) for found in asides(path.parent)],
            unreadable_rows=count.unreadable,
            span_s=span_s,
            body_bytes_per_day=per_day,
        )


class _Count:
    def __init__(self, db: Database, progress: Progress) -> None:
        self._db = db
        self._progress = progress
        self._uses: dict[str, list[float]] = {}
        """By stream: rows, readings, bytes."""
        self._epochs: dict[str, set[int]] = {}
        self.gaps: dict[str, int] = {}
        self.body_bytes = [0 for _ in PRIORITIES]
        self.unreadable = 0

    def table(self, prio: int, newest: int) -> None:
        columns = "epoch, kind, n, head, length(body), CASE kind WHEN 'ledger' THEN body END"
        rows = walk(
            self._db, ROW_TABLES[prio], columns, newest, told=self._progress.read, unreadable=self._unreadable
        )
        for row_id, epoch_no, kind, n, head, size, body in rows:
            self.body_bytes[prio] += size
            try:
                for stream, first, last in decode_head(head).segments:
                    self._use(stream, epoch_no, last - first + 1, size / max(n, 1))
                if kind == topics.LEDGER:
                    self._declared(ledger_body(head, body))
            except Rejected:
                self._unreadable(row_id)

    def streams(self) -> list[StreamUse]:
        return [
            StreamUse(name, int(rows), int(readings), round(size), len(self._epochs[name]))
            for name, (rows, readings, size) in sorted(self._uses.items())
        ]

    def _use(self, stream: str, epoch_no: int, readings: int, bytes_each: float) -> None:
        use = self._uses.setdefault(stream, [0, 0, 0.0])
        use[0] += 1
        use[1] += readings
        use[2] += readings * bytes_each
        self._epochs.setdefault(stream, set()).add(epoch_no)

    def _declared(self, body: bytes) -> None:
        entry = decode.decode_row(body)
        if isinstance(entry, messages.GapMessage):
            for _, _, first, last, reason in decode.lost(entry):
                self.gaps[reason] = self.gaps.get(reason, 0) + last - first + 1

    def _unreadable(self, _row_id: int) -> None:
        self.unreadable += 1


def _span_s(priorities: list[PriorityView]) -> float | None:
    times = [at for view in priorities for at in (view.oldest_ms, view.newest_ms) if at is not None]
    span_ms = max(times) - min(times) if times else 0
    return span_ms / 1000 if span_ms >= 60_000 else None
