"""The uplink's view of the store: committed rows over a read-only connection, checked as they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_agent.contract import messages, topics
from edge_agent.contract.decode import decode_row, restamp, when
from edge_agent.errors import Rejected
from edge_agent.ports import Row
from edge_agent.store import database
from edge_agent.store.epochs import Epochs
from edge_agent.store.head import Head, decode_head, ledger_body, row_crc
from edge_agent.store.settled import Outgoing, Verdict
from edge_agent.types import SeqRange

_MOST_BYTES = 4 * 1024 * 1024
"""Of bodies in one answer."""


class Outbox:
    """Implements `ports.Outbox`. Opens its connection at the first use; used from one thread."""

    def __init__(
        self, path: Path, outgoing: Outgoing, *, offset_ms: Callable[[str], int | None] | None = None,
        floor_ms: int = 0,
    ) -> None:  # fmt: skip
        """`offset_ms(boot)`: UTC minus monotonic time of that boot, in ms, None while unknown: wall times then stay
        as they were guessed, but for those before `floor_ms`, which are wrong for certain and go out as null."""
        self._path = path
        self._outgoing = outgoing
        self._offset_ms = offset_ms
        self._floor_ms = floor_ms
        self._db: database.Database | None = None
        self._generation = 0
        self._covered_from: list[dict[int, int]] = [{} for _ in database.ROW_TABLES]
        """By id of a row handed out: the id from which on nothing else was waiting before it."""

    def unacked(self, prio: int, after: int, limit: int) -> Sequence[Row]:
        """At most `limit` rows and about 4 MB. A damaged row is left out, declared and put aside; a damaged file is
        told to the writer, which leaves it."""
        rows: list[Row] = []
        try:
            self._collect(rows, prio, after, limit)
        except database.Damaged as error:
            self._outgoing.damage = error.message
        return rows

    def _collect(self, rows: list[Row], prio: int, after: int, limit: int) -> None:
        room = _MOST_BYTES
        for first, last in self._outgoing.waiting(prio, after):
            covered = first
            with closing(self._read(prio, first, last, limit - len(rows))) as found:
                for row_id, epoch_no, kind, key, n, crc, head, body in found:
                    row = self._row(prio, row_id, epoch_no, kind, key, n, crc, head, body)
                    if row is not None:
                        self._covered_from[prio][row_id] = covered
                        rows.append(row)
                        room -= len(row.body)
                    covered = row_id + 1
                    if room <= 0:
                        break
            if len(rows) >= limit or room <= 0:
                return

    def newest(self, prio: int) -> int:
        return self._outgoing.newest(prio)

    def unsettled(self, prio: int) -> int:
        return sum(last - first + 1 for first, last in self._outgoing.waiting(prio))

    def delivered(self, rows: Sequence[tuple[int, int]]) -> None:
        for prio, row_id in rows:
            self._outgoing.settle(prio, self._covered_from[prio].pop(row_id, row_id), row_id)

    def refused(self, row: tuple[int, int], code: str) -> None:
        prio, row_id = row
        self._covered_from[prio].pop(row_id, None)
        self._outgoing.give_up(Verdict(prio, row_id, code, "rejected"))

    def thinned(self, rows: Sequence[tuple[int, int]]) -> None:
        for prio, row_id in rows:
            self._covered_from[prio].pop(row_id, None)
            self._outgoing.give_up(Verdict(prio, row_id, "budget", "thinned"))

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, prio: int, first: int, last: int, limit: int) -> Any:
        if self._generation != self._outgoing.generation:
            self.close()
        if self._db is None:
            self._generation = self._outgoing.generation
            self._db = database.open_reader(self._path)
            self._epochs = Epochs(self._db)
            self._store = self._db.store
        return self._db.stream(
            f"SELECT id, epoch, kind, key, n, crc, head, body FROM {database.ROW_TABLES[prio]}"  # noqa: S608
            " WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (first, last, limit),
        )

    def _row(
        self, prio: int, row_id: int, epoch_no: int, kind: str, key: str, n: int, crc: int, head: bytes, body: bytes
    ) -> Row | None:
        epoch = self._epochs.id_of(epoch_no)
        try:
            if not epoch or crc != row_crc(self._store, row_id, epoch_no, kind, key, n, head, body):
                return _mended(prio, row_id, kind, head, body, epoch)
        except Rejected:
            self._outgoing.give_up(Verdict(prio, row_id, "crc", "corrupt"))
            return None
        told = decode_head(head)
        segments = tuple(SeqRange(stream, epoch, first, last) for stream, first, last in told.segments)
        return Row(prio, row_id, kind, key, n, epoch, segments, self._dated(told, body))

    def _dated(self, told: Head, body: bytes) -> bytes:
        """The body with its wall time set right, where it was guessed and is known now."""
        if not told.guessed or self._offset_ms is None:
            return body
        stamped = when(body)
        offset_ms = self._offset_ms(stamped.boot)
        if offset_ms is not None:
            return restamp(body, offset_ms, "synced")
        certainly_wrong = stamped.wall_ms is not None and stamped.wall_ms < self._floor_ms
        return restamp(body, None, "guessed") if certainly_wrong else body


def _mended(prio: int, row_id: int, kind: str, head: bytes, body: bytes, epoch: str) -> Row:
    """A damaged ledger entry, from its copy.

    Raises Rejected for any other row, where the copy is damaged too, and for an entry of another epoch than its
    number says: that one is not of this store.
    """
    if kind != topics.LEDGER:
        raise Rejected("a row has not the checksum that it was written with")
    whole = ledger_body(head, body)
    entry = decode_row(whole)
    if isinstance(entry, messages.Tele):
        raise Rejected("a row's kind is not its body's")
    if entry.epoch != epoch:
        raise Rejected("a row's epoch is not its body's")
    segment = SeqRange(entry.stream, entry.epoch, entry.seq, entry.seq)
    return Row(prio, row_id, kind, "", 1, entry.epoch, (segment,), whole)
