"""What a damaged store still holds: its whole rows that were not delivered yet, and what it can no longer give.

A row is believed when its checksum holds, which covers its place, its head and its body. What is missing is found
by the numbers, which are dense within a stream and an epoch: what lies between two rows that are there, and was
neither delivered nor declared, is lost. Nothing here writes, and the file may be of any content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.contract.rows import PRIORITIES, PRIORITY, Draft, priority_of
from edge_agent.errors import Rejected
from edge_agent.store.database import PAGE_BYTES
from edge_agent.store.gaps import GapSet
from edge_agent.store.head import Head, Segments, Settled, decode_head, row_crc, segments_of
from edge_agent.store.pages import PageFile, Record, tell_nobody
from edge_agent.store.ranges import Ranges
from edge_agent.store.recovery import Note
from edge_agent.unreadable import UNREADABLE

_KINDS = {kind.encode(): kind for kind in PRIORITY}
_BEGINNING = -1
Place = tuple[int, int]


class SavedRow(msgspec.Struct, frozen=True):
    """A row as it was written; its head without what only its old store understands.

    `id` and `epoch_no` are those of the old store.
    """

    prio: int
    id: int
    epoch_no: int
    epoch: str
    kind: str
    key: str
    n: int
    segments: Segments
    guessed: bool
    body: bytes

    def draft(self) -> Draft:
        """To be written again, as any row."""
        return Draft(self.kind, self.key, self.n, self.segments, self.body, self.guessed)


class Counts(msgspec.Struct, frozen=True):
    """`waiting` of the `whole` rows were not delivered yet; `damaged` rows are there and not as they were written."""

    whole: int = 0
    waiting: int = 0
    damaged: int = 0


class _Known(NamedTuple):
    """A whole row."""

    place: Place
    epoch_no: int
    kind: str
    segments: Segments
    guessed: bool


class _Damaged(msgspec.Struct, frozen=True):
    prio: int
    id: int
    epoch_no: int
    segments: Segments


class Salvage:
    """Looks the whole file through at once, in two passes of little memory; `close` it."""

    def __init__(
        self,
        path: Path,
        wal: Path | None,
        *,
        settled: Settled = (),
        store: bytes = b"",
        progress: Callable[[int], None] = tell_nobody,
    ) -> None:
        """`settled`: what is known to be delivered beside what the file itself says. `store`: its id, where the file
        does not give it."""
        self._file = PageFile(path, wal, PAGE_BYTES)
        self.store = b""
        """The id of the store, empty where nobody knows it."""
        self.note = Note()
        self._rows: tuple[dict[int, _Known], ...] = tuple({} for _ in PRIORITIES)
        self._settled = [Ranges() for _ in PRIORITIES]
        self._damaged: list[_Damaged] = []
        self._epochs: dict[int, str] = {}
        self._closings: dict[str, dict[str, int]] = {}
        self._declared: dict[tuple[str, str], Ranges] = {}
        self._settle(settled)
        try:
            self.store = self._store_in_file() or store
            for record in self._file.records(progress):
                self._take(record)
        except BaseException:
            self._file.close()
            raise
        self._settle(self.note.settled)

    def close(self) -> None:
        self._file.close()

    @property
    def pages(self) -> int:
        return self._file.count

    @property
    def counts(self) -> Counts:
        whole = sum(map(len, self._rows))
        waiting = sum(1 for prio in PRIORITIES for row_id in self._rows[prio] if row_id not in self._settled[prio])
        return Counts(whole, waiting, sum(1 for d in self._damaged if d.id not in self._rows[d.prio]))

    def rows(self, after: tuple[int, int] = (0, 0)) -> Iterator[SavedRow]:
        """What was not delivered and stands behind (priority, id) `after`: alerts first, then as it was committed."""
        for prio in PRIORITIES:
            for row_id in sorted(self._rows[prio]):
                if (prio, row_id) > after and row_id not in self._settled[prio]:
                    row = self._saved(prio, row_id)
                    if row is not None:
                        yield row

    def all_rows(self) -> Iterator[SavedRow]:
        """Delivered ones too, for an export by hand."""
        for prio in PRIORITIES:
            for row_id in sorted(self._rows[prio]):
                if (row := self._saved(prio, row_id, declared_too=True)) is not None:
                    yield row

    def heads(self) -> dict[str, dict[str, int]]:
        """By epoch and stream: the highest number that is known to have been reached."""
        heads: dict[str, dict[str, int]] = {epoch: dict(last) for epoch, last in self._closings.items()}
        if self.note.epoch:
            _raise(heads.setdefault(self.note.epoch, {}), self.note.last)
        for prio in PRIORITIES:
            for row in self._rows[prio].values():
                _raise(heads.setdefault(self._epoch_of(row), {}), {stream: last for stream, _, last in row.segments})
        for (stream, epoch), ranges in self._declared.items():
            _raise(heads.setdefault(epoch, {}), {stream: ranges.highest or 0})
        heads.pop("", None)
        return heads

    def lost(self, heads: dict[str, dict[str, int]] | None = None) -> GapSet:
        """What was committed, neither delivered nor declared, and is not among the rows; `heads` if known better."""
        lost = GapSet()
        for row in self._damaged:
            if row.id not in self._rows[row.prio] and row.id not in self._settled[row.prio]:
                for stream, first, last in row.segments:
                    self._lose(lost, stream, self._epochs.get(row.epoch_no, ""), first, last)
        there = self._by_stream()
        for epoch, last_of in (heads or self.heads()).items():
            for stream, last in last_of.items():
                rows = sorted(there.get((stream, epoch), ()))
                for first, until in self._holes(priority_of(stream), rows, last):
                    self._lose(lost, stream, epoch, first, until)
        return lost

    def _store_in_file(self) -> bytes:
        """It stands near the beginning, and every row's checksum begins with it."""
        for record in self._file.records(tell_nobody):
            if len(record.values) == 2 and record.values[0] == b"store" and isinstance(record.values[1], bytes):
                return record.values[1]
        return b""

    # -- the look through ------------------------------------------------------------------------------------------

    def _take(self, record: Record) -> None:
        match record.values:
            case (None, int(), bytes(kind), bytes(), int(), int(), bytes(), bytes()) if kind in _KINDS:
                self._take_row(record, _KINDS[kind])
            case (None, int(), bytes(), bytes(), int(), int(), bytes(), bytes()):
                self._take_unknown(record)
            case (None, bytes(epoch), bytes(), int()) if len(epoch) == 26:
                self._epochs[record.row_id] = epoch.decode("ascii", "replace")
            case (b"note", bytes(note)):
                self._take_note(note)

    def _take_row(self, record: Record, kind: str) -> None:
        row_id, prio = record.row_id, PRIORITY[kind]
        head, epoch_no, key, n, crc, head_bytes, body = _columns(record)
        if head is not None and crc == row_crc(self.store, row_id, epoch_no, kind, key, n, head_bytes, body):
            self._rows[prio][row_id] = _Known(record.place, epoch_no, kind, head.segments, head.guessed)
            self._settle(head.settled)
        elif kind == topics.LEDGER and head is not None and head.copy:
            body = head.copy
            self._rows[prio][row_id] = _Known(record.place, epoch_no, kind, head.segments, head.guessed)
        else:
            self._damaged.append(_Damaged(prio, row_id, epoch_no, _segments(kind, head_bytes, body)))
            return
        if kind == topics.LEDGER:
            self._take_entry(body)

    def _take_unknown(self, record: Record) -> None:
        """A row whose kind is damaged: what it was stands in its numbers."""
        head, epoch_no, *_ = _columns(record)
        segments = head.segments if head is not None else ()
        prio = priority_of(segments[0][0]) if segments else PRIORITIES[-1]
        self._damaged.append(_Damaged(prio, record.row_id, epoch_no, segments))

    def _take_entry(self, body: bytes) -> None:
        try:
            entry = decode.decode_row(body)
        except Rejected:
            return
        if isinstance(entry, messages.Close):
            _raise(self._closings.setdefault(entry.closed, {}), entry.last)
        elif isinstance(entry, messages.GapMessage):
            for stream, epoch, first, last, _ in decode.lost(entry):
                self._declared.setdefault((stream, epoch), Ranges()).add(first, last)

    def _take_note(self, note: bytes) -> None:
        try:
            self.note = msgspec.json.decode(note, type=Note)
        except UNREADABLE:
            return

    def _settle(self, settled: Settled) -> None:
        for mine, ranges in zip(self._settled, settled, strict=False):
            for first, last in ranges:
                mine.add(first, last)

    # -- what it comes to ------------------------------------------------------------------------------------------

    def _saved(self, prio: int, row_id: int, *, declared_too: bool = False) -> SavedRow | None:
        """None for what was deleted when its loss was declared, in a page that has not been used again."""
        known = self._rows[prio][row_id]
        head, epoch_no, key, n, _, _, body = _columns(self._file.record_at(known.place))
        if known.kind == topics.LEDGER and head is not None:
            key, body = "", head.copy or body
        epoch = _epoch_in(body)
        if not epoch or (not declared_too and self._is_declared(epoch, known.segments)):
            return None
        return SavedRow(prio, row_id, epoch_no, epoch, known.kind, key, n, known.segments, known.guessed, body)

    def _is_declared(self, epoch: str, segments: Segments) -> bool:
        return all(
            not any(self._declared.get((stream, epoch), Ranges()).holes(first, last))
            for stream, first, last in segments
        )

    def _epoch_of(self, row: _Known) -> str:
        if row.epoch_no not in self._epochs:
            *_, body = _columns(self._file.record_at(row.place))
            self._epochs[row.epoch_no] = _epoch_in(body)
        return self._epochs[row.epoch_no]

    def _by_stream(self) -> dict[tuple[str, str], list[tuple[int, int, int]]]:
        """(first, last, id) of the rows that are there, by (stream, epoch)."""
        there: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        for prio in PRIORITIES:
            for row_id, row in self._rows[prio].items():
                for stream, first, last in row.segments:
                    there.setdefault((stream, self._epoch_of(row)), []).append((first, last, row_id))
        return there

    def _holes(self, prio: int, rows: list[tuple[int, int, int]], last: int) -> Iterator[tuple[int, int]]:
        """Numbers up to `last` that no row has, where an id is missing that was not delivered."""
        present = Ranges(self._settled[prio])
        for row_id in self._rows[prio]:
            present.add(row_id, row_id)
        before, before_id = _BEGINNING, 0
        end_id = max(self.note.newest[prio], present.highest or 0) + 2
        for first, until, row_id in [*rows, (last + 1, last + 1, end_id)]:
            if first > before + 1 and any(present.holes(before_id + 1, row_id - 1)):
                yield before + 1, first - 1
            if until > before:
                before, before_id = until, row_id

    def _lose(self, lost: GapSet, stream: str, epoch: str, first: int, last: int) -> None:
        for a, b in self._declared.get((stream, epoch), Ranges()).holes(first, last):
            if epoch:
                lost.add(stream, epoch, a, b, "corrupt")


def _columns(record: Record) -> tuple[Head | None, int, str, int, int, bytes, bytes]:
    """Head, epoch number, key, n, checksum, the head's bytes, body."""
    _, epoch_no, _, key, n, crc, head, body = record.values
    assert isinstance(epoch_no, int)
    assert isinstance(n, int)
    assert isinstance(crc, int)
    assert isinstance(key, bytes)
    assert isinstance(head, bytes)
    assert isinstance(body, bytes)
    try:
        told = decode_head(head)
    except Rejected:
        told = None
    return told, epoch_no, key.decode("utf-8", "surrogateescape"), n, crc, head, body


class _Epoch(msgspec.Struct):
    epoch: str


_epoch = msgspec.json.Decoder(_Epoch)


def _epoch_in(body: bytes) -> str:
    try:
        return _epoch.decode(decode.inflate(body)).epoch
    except (Rejected, *UNREADABLE):
        return ""


def _segments(kind: str, head: bytes, body: bytes) -> Segments:
    try:
        return segments_of(kind, head, partial(bytes, body))
    except Rejected:
        return ()


def _raise(heads: dict[str, int], seen: dict[str, int]) -> None:
    for stream, last in seen.items():
        heads[stream] = max(heads.get(stream, -1), last)
