"""Does every number that a store has given out lie in a row, or in a gap, or was its row delivered and let go?

What no one can tell here is said to be so: where the ledger's own entries were delivered and let go, the backend's
view of completeness knows what this box has forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from edge_agent.contract import decode, messages, topics
from edge_agent.contract.rows import PRIORITIES, priority_of
from edge_agent.errors import Rejected
from edge_agent.store.database import ROW_TABLES, Database
from edge_agent.store.epochs import Epochs
from edge_agent.store.head import as_stored, ledger_body, segments_of
from edge_agent.store.ranges import Ranges
from edge_agent.store.recovery import Note, recover
from edge_agent.store.walking import walk

_LEDGER = ROW_TABLES[PRIORITIES[0]]
_MOST_HOLES = 10_000

StreamEpoch = tuple[str, str]


class Hole(NamedTuple):
    """Numbers in no row, between the rows `after` and `before` (0: from the beginning)."""

    prio: int
    stream: str
    epoch: str
    first: int
    last: int
    after: int
    before: int


class Clash(NamedTuple):
    """Numbers of the row `row` that stand `again`, in a row before it, or that were declared `lost`."""

    what: str
    prio: int
    stream: str
    epoch: str
    first: int
    last: int
    row: int


class Numbering:
    """Is shown all rows in the order of their ids, then asked for the holes."""

    def __init__(self, db: Database, note: Note) -> None:
        self._db = db
        self._epochs = Epochs(db)
        self._until = note.newest
        self._declared: dict[StreamEpoch, Ranges] = {}
        self._expected: dict[StreamEpoch, int] = {(stream, note.epoch): last for stream, last in note.last.items()}
        self._seen: dict[StreamEpoch, tuple[int, int, int]] = {}
        """Priority, number and row id that were the last."""
        self._holes: list[Hole] = []
        self.holes_left_out = 0
        self._read_ledger(0, note.newest[0])

    def row(self, prio: int, row_id: int, epoch_no: int, kind: str, head: bytes, body: bytes) -> Iterator[Clash]:
        """What contradicts it. A row whose numbers cannot be made out is passed over: they will be a hole."""
        epoch = self._epochs.id_of(epoch_no)
        try:
            segments = segments_of(kind, head, partial(as_stored, body))
        except Rejected:
            return
        for stream, first, last in segments:
            key = (stream, epoch)
            known = self._seen.get(key, (prio, -1, 0))[1]
            if first <= known:
                yield Clash("again", prio, stream, epoch, first, min(last, known), row_id)
            for lost_first, lost_last in _common(self._declared.get(key), first, last):
                yield Clash("lost", prio, stream, epoch, lost_first, lost_last, row_id)
            self._leave_out(prio, key, known + 1, first - 1, row_id)
            self._seen[key] = prio, max(last, known), row_id

    def holes(self) -> Iterator[tuple[Hole, bool]]:
        """With whether they are certain: false where what would declare them may have been delivered and let go.

        The ledger is read again first: beside a running agent, rows went and were declared meanwhile.
        """
        for key, last in self._expected.items():
            prio, known, _ = self._seen.get(key, (priority_of(key[0]), -1, 0))
            self._leave_out(prio, key, known + 1, last, self._until[prio] + 1)
        now = recover(self._db)
        self._read_ledger(self._until[0], now.newest[0])
        gone = [_gone(self._db, prio, now) for prio in PRIORITIES]
        for hole in self._holes:
            if any(True for _ in _common(gone[hole.prio], hole.after + 1, hole.before - 1)):
                continue
            declared = self._declared.get((hole.stream, hole.epoch), Ranges())
            for first, last in declared.holes(hole.first, hole.last):
                yield hole._replace(first=first, last=last), not gone[0]

    def _leave_out(self, prio: int, key: StreamEpoch, first: int, last: int, before: int) -> None:
        declared = self._declared.get(key, Ranges())
        if last < first or not any(True for _ in declared.holes(first, last)):
            return
        if len(self._holes) < _MOST_HOLES:
            self._holes.append(Hole(prio, *key, first, last, self._seen.get(key, (0, 0, 0))[2], before))
        else:
            self.holes_left_out += 1

    def _read_ledger(self, after: int, until: int) -> None:
        columns = "kind, head, body"
        for _, kind, head, body in walk(self._db, _LEDGER, columns, until, after=after, unreadable=_pass_over):
            if kind != topics.LEDGER:
                continue
            try:
                entry = decode.decode_row(ledger_body(head, body))
            except Rejected:
                continue  # said of the row itself
            if isinstance(entry, messages.GapMessage):
                for stream, epoch, first, last, _ in decode.lost(entry):
                    self._declared.setdefault((stream, epoch), Ranges()).add(first, last)
            elif isinstance(entry, messages.Close) and not entry.lost:
                for stream, last in entry.last.items():
                    self._expected[stream, entry.closed] = last


def _gone(db: Database, prio: int, note: Note) -> Ranges:
    """Ids that were delivered and are no longer there."""
    gone = Ranges()
    for first, last in note.settled[prio] if prio < len(note.settled) else ():
        expected = first
        for (row_id,) in _ids(db, ROW_TABLES[prio], first - 1, last):
            gone.add(expected, row_id - 1)
            expected = row_id + 1
        gone.add(expected, last)
    return gone


def _ids(db: Database, table: str, after: int, until: int) -> Iterator[tuple[Any, ...]]:
    """The ids alone, many at a time."""
    while rows := db.query(
        f"SELECT id FROM {table} WHERE id > ? AND id <= ? ORDER BY id LIMIT 20000",  # noqa: S608
        (after, until),
    ):
        yield from rows
        after = rows[-1][0]


def _common(ranges: Ranges | None, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The parts of `first` to `last` that are in the set."""
    if not ranges:
        return
    for a, b in ranges.holes(first, last):
        if first < a:
            yield first, a - 1
        first = b + 1
    if first <= last:
        yield first, last


def _pass_over(_row_id: int) -> None:
    """The walk over all rows says so."""
