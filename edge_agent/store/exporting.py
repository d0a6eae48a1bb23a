"""Rows as records that people and their programs read: an instant, a stream, a number, named values with units.

In the order of the rows, one slice in memory at a time; safe beside a running agent. What the ledger knows about the
clock of a boot is applied: times that were guessed and are known by now are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.errors import Rejected
from edge_agent.store.checking import SILENT, Progress
from edge_agent.store.database import ROW_TABLES, Database
from edge_agent.store.head import decode_head, ledger_body, row_crc
from edge_agent.store.reader import opened
from edge_agent.store.recovery import recover
from edge_agent.store.salvage import Salvage
from edge_agent.store.walking import walk
from edge_agent.types import Quality, Value

KINDS = {
    "readings": topics.TELE,
    "predictions": topics.INFER,
    "decisions": topics.DECISION,
    "alerts": topics.ALERT,
    "ledger": topics.LEDGER,
}
"""What people call them, and what rows do."""
_PRIO = {topics.TELE: 2, topics.INFER: 1, topics.DECISION: 0, topics.ALERT: 0, topics.LEDGER: 0}

Fields = dict[str, Value | list[Value] | None]


class Record(msgspec.Struct, frozen=True):
    """`t_ms` is UTC, None where nobody knows; `time` is `synced`, `fixed` (known later), or `guessed` or the like.

    `units` has UCUM, `quality` a word for each field that is not good.
    """

    t_ms: int | None
    time: str
    stream: str
    epoch: str
    seq: int
    fields: Fields
    units: dict[str, str] = {}
    quality: dict[str, str] = {}


class Wanted(msgspec.Struct, frozen=True):
    """No `streams`: all. With `from_ms` (included) or `to_ms` (not included), what has no time is left out."""

    kinds: frozenset[str]
    streams: frozenset[str] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None

    def takes_time(self, t_ms: int | None) -> bool:
        if self.from_ms is None and self.to_ms is None:
            return True
        if t_ms is None:
            return False
        return (self.from_ms is None or t_ms >= self.from_ms) and (self.to_ms is None or t_ms < self.to_ms)

    def takes_stream(self, stream: str) -> bool:
        return not self.streams or stream in self.streams


class Export:
    """One look at a store, up to the rows that were there when it began. `damaged` counts rows left out."""

    def __init__(self, db: Database, wanted: Wanted, progress: Progress) -> None:
        self.damaged = 0
        self._db = db
        self._wanted = wanted
        self._progress = progress
        self._newest = recover(db).newest
        self._offsets_ms = dict(self._time_fixes())
        """UTC less monotonic time, by boot."""
        self._prios = sorted({_PRIO[KINDS[kind]] for kind in wanted.kinds})

    def streams(self) -> frozenset[str]:
        """Those that rows of the wanted kinds have; when every wanted one is found, no more are looked for."""
        found: set[str] = set()
        kinds = {KINDS[kind] for kind in self._wanted.kinds}
        for prio in self._prios:
            table, until = ROW_TABLES[prio], self._newest[prio]
            for _, kind, head in walk(self._db, table, "kind, head", until, unreadable=lambda _: None):
                if kind in kinds:
                    with suppress(Rejected, TypeError):  # damaged: said when the row's turn comes
                        found.update(stream for stream, _, _ in decode_head(head).segments)
                if found >= self._wanted.streams:
                    return frozenset(found)
        return frozenset(found)

    def columns(self) -> list[tuple[str, str]]:
        """(field, unit) of everything that `records` will give, in the order of their first appearance."""
        self._began(passes=2)
        found: dict[tuple[str, str], None] = {}
        for message in self._messages():
            if isinstance(message, messages.Tele):
                for segment in filter(self._takes_segment, message.seg):
                    found.update(dict.fromkeys((name, channel.u) for name, channel in segment.ch.items()))
            else:
                for record in _single(message):
                    found.update(dict.fromkeys((name, "") for name in record.fields))
        return list(found)

    def records(self) -> Iterator[Record]:
        """What is wanted, row by row."""
        self._began(passes=1)
        for message in self._messages():
            record_of = _readings(message) if isinstance(message, messages.Tele) else _single(message)
            shift = self._shift(message)
            for record in record_of:
                dated = shift(record)
                if self._wanted.takes_stream(dated.stream) and self._wanted.takes_time(dated.t_ms):
                    yield dated

    def _began(self, *, passes: int) -> None:
        self._progress.began(passes * sum(self._newest[prio] for prio in self._prios))

    def _takes_segment(self, segment: messages.Segment) -> bool:
        return self._wanted.takes_stream(segment.stream)

    def _messages(self) -> Iterator[messages.RowMessage]:
        self.damaged = 0
        kinds = {KINDS[kind] for kind in self._wanted.kinds}
        for prio in self._prios:
            columns = "epoch, kind, key, n, crc, head, body"
            for row in walk(
                self._db, ROW_TABLES[prio], columns, self._newest[prio],
                told=self._progress.read, unreadable=self._damaged,
            ):  # fmt: skip
                if row[2] in kinds and (message := self._message(*row)) is not None:
                    yield message

    def _message(
        self, row_id: int, epoch_no: int, kind: str, key: str, n: int, crc: int, head: bytes, body: bytes
    ) -> messages.RowMessage | None:
        """None where no stream of it is wanted, or it is damaged."""
        try:
            if crc == row_crc(self._db.store, row_id, epoch_no, kind, key, n, head, body):
                wanted = any(self._wanted.takes_stream(stream) for stream, _, _ in decode_head(head).segments)
                return decode.decode_row(body) if wanted else None
            if kind == topics.LEDGER:
                return decode.decode_row(ledger_body(head, body))
        except (Rejected, TypeError):  # TypeError: damage can change even the types
            pass
        self._damaged(row_id)
        return None

    def _damaged(self, _row_id: int) -> None:
        self.damaged += 1

    def _time_fixes(self) -> Iterator[tuple[str, int]]:
        columns, table = "CASE kind WHEN 'ledger' THEN head END, body", ROW_TABLES[0]
        for _, head, body in walk(self._db, table, columns, self._newest[0], unreadable=lambda _: None):
            if head is None:
                continue
            try:
                entry = decode.decode_row(ledger_body(head, body))
            except Rejected:
                continue
            if isinstance(entry, messages.TimeFix):
                yield entry.boot, entry.offset_ms

    def _shift(self, message: messages.RowMessage) -> Callable[[Record], Record]:
        """Sets a time that nobody vouched for right, where it is known by now."""
        boot, tq = getattr(message, "boot", ""), getattr(message, "tq", "synced")
        offset_ms = self._offsets_ms.get(boot) if tq != "synced" else None
        if offset_ms is None:
            return _as_it_is
        base = (message.m0, message.t0) if isinstance(message, messages.Tele) else (
            getattr(message, "m", None), getattr(message, "t", None)
        )  # fmt: skip
        m_ms, t_ms = base
        if m_ms is None or t_ms is None:
            return _as_it_is
        by_ms = m_ms + offset_ms - t_ms
        return lambda record: msgspec.structs.replace(record, t_ms=(record.t_ms or 0) + by_ms, time="fixed")


@contextmanager
def export_of(path: Path, wanted: Wanted, progress: Progress = SILENT) -> Iterator[Export]:
    """A look at the store at `path`.

    Raises Retryable where there is none or it cannot be read, Fatal for a file that is not ours or newer.
    """
    with opened(path) as (db, _):
        yield Export(db, wanted, progress)


def salvaged(salvage: Salvage) -> Iterator[Record]:
    """Everything that a damaged file still holds, delivered or not; times as they were stamped."""
    for row in salvage.all_rows():
        with suppress(Rejected):  # whole, and of no shape that this version knows
            message = decode.decode_row(row.body)
            yield from _readings(message) if isinstance(message, messages.Tele) else _single(message)


def _as_it_is(record: Record) -> Record:
    return record


def _readings(row: messages.Tele) -> Iterator[Record]:
    units = {s.stream: {name: channel.u for name, channel in s.ch.items() if channel.u} for s in row.seg}
    for sample in decode.samples(row):
        quality = {name: Quality(code).name.lower() for name, code in sample.quality.items()}
        fields: Fields = dict(sample.values)
        yield Record(sample.t, row.tq, sample.stream, row.epoch, sample.seq, fields, units[sample.stream], quality)


def _single(row: messages.RowMessage) -> Iterator[Record]:
    """Of a message that is no telemetry; a gap record is one for each range that it declares."""
    assert not isinstance(row, messages.Tele)
    told = [_told(row)] if not isinstance(row, messages.GapMessage) else [_gap(*lost) for lost in decode.lost(row)]
    t_ms, tq = getattr(row, "t", None), getattr(row, "tq", "")
    for fields in told:
        yield Record(t_ms, tq, row.stream, row.epoch, row.seq, fields)


def _gap(stream: str, epoch: str, first: int, last: int, reason: str) -> Fields:
    return {
        "entry": "gap", "of_stream": stream, "of_epoch": epoch, "first": first, "last": last,
        "count": last - first + 1, "reason": reason,
    }  # fmt: skip


def _told(
    row: messages.Infer | messages.Decided | messages.Alerted | messages.Close | messages.TimeFix | Any,
) -> Fields:
    match row:
        case messages.Infer():
            model = f"{row.model.name} {row.model.version}"
            said: Fields = {"model": model, "valid": row.valid, "trust": row.trust, "latency_ms": row.latency_ms}
            outputs: Fields = dict(row.outputs)
            return {**said, "error": row.error, **outputs}
        case messages.Decided():
            rule: Fields = {
                "rule": row.rule.id,
                "outcome": row.outcome,
                "branch": row.branch,
                "severity": row.severity,
            }
            return {**rule, "rung": row.rung, **row.inputs}
        case messages.Alerted():
            return {
                "alert_id": row.alert_id, "dedupe_key": row.dedupe_key, "state": row.state,
                "severity": row.severity, "text": row.text,
            }  # fmt: skip
        case messages.TimeFix():
            fix: Fields = {"entry": "time_fix", "boot": row.boot, "offset_ms": row.offset_ms}
            return {**fix, "uncertainty_ms": row.uncertainty_ms}
        case _:
            return {"entry": "close", "of_epoch": row.closed, "lost": row.lost, "streams": len(row.last)}
