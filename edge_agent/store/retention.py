"""Room under the quota, made by priority; what was not delivered yet is declared when it goes.

In this order: dead letters; what was delivered, telemetry first; then undelivered telemetry, every second row of
each topic, three times over; then the oldest telemetry and the oldest predictions; then gap records are merged;
then the oldest decisions and alerts. What the ledger says is never lost: it stays even over the quota.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from edge_agent.contract.rows import PRIORITIES
from edge_agent.errors import Rejected
from edge_agent.store.database import PAGE_BYTES, ROW_TABLES, Database, Limits
from edge_agent.store.epochs import Epochs
from edge_agent.store.gaps import GapSet
from edge_agent.store.head import as_stored, segments_of
from edge_agent.store.merging import GapMerging
from edge_agent.store.settled import Outgoing

_ROWS_PER_COMMIT = 1000
_THINNINGS = 3
_TELE = PRIORITIES[-1]

Found = tuple[int, int, str, str, bytes]
"""A waiting row: id, epoch number, kind, key, head."""


class Retention:
    """Deletes inside the writer's transaction."""

    def __init__(self, db: Database, limits: Limits, outgoing: Outgoing, epochs: Epochs) -> None:
        self._db = db
        self._outgoing = outgoing
        self._epochs = epochs
        self._merging = GapMerging(db, limits, outgoing)
        self._most = limits.max_pages
        self._high = limits.max_pages * 15 // 16
        self._slack = max(limits.max_pages // 128, 8)
        self._step = min(max(limits.max_pages // 256, 4), 256)
        self._short = False
        self._round = 0
        """How often the undelivered telemetry up to `_thin_until` was gone through."""
        self._thin_after = 0
        self._thin_until = 0
        self._take_next: dict[str, bool] = {}
        self._gone: list[tuple[int, int, int]] = []
        self._deleted = 0

    def make_room(self, incoming_bytes: int, gaps: GapSet) -> int:
        """Deletes until `incoming_bytes` fit with some to spare; what that loses is added to `gaps`.

        What fits must fit now; the rest may take several transactions of about a thousand rows each, as after a
        quota was lowered. May be called several times in one. Returns how many rows went.
        """
        incoming = incoming_bytes // (PAGE_BYTES - 100) + 1
        must = max(self._high, self._db.pages() - self._slack) - incoming
        want = self._high - incoming - (self._slack if self._short else 0)
        deleted = 0
        while (used := self._db.used_pages()) > (want if self._deleted + deleted < _ROWS_PER_COMMIT else must):
            want = self._high - incoming - self._slack
            went = self._delete_some(gaps)
            if not went:
                break
            deleted += went
        self._deleted += deleted
        self._short = used > want
        self._db.allow_pages(max(self._most, used + incoming + self._slack))
        return deleted

    def begin(self) -> None:
        """A transaction begins: what a failed one deleted is there again."""
        self._gone = []
        self._deleted = 0

    def gone(self) -> list[tuple[int, int, int]]:
        """(priority, first, last) of ids in which this transaction left nothing to wait for."""
        return self._gone

    def _delete_some(self, gaps: GapSet) -> int:
        stages: tuple[Callable[[], int], ...] = (
            self._dead_letters,
            *(lambda prio=prio: self._delivered(prio) for prio in reversed(PRIORITIES)),
            lambda: self._thin(gaps),
            lambda: self._drop_oldest(_TELE, gaps),
            lambda: self._drop_oldest(1, gaps),
            lambda: self._merging.merge(gaps),
            lambda: self._drop_oldest(0, gaps),
        )
        return next((went for stage in stages if (went := stage())), 0)

    def _dead_letters(self) -> int:
        return self._db.execute(
            "DELETE FROM dead WHERE id IN (SELECT id FROM dead ORDER BY id LIMIT ?)", (self._step,)
        )

    def _delivered(self, prio: int) -> int:
        """The oldest of what need not be sent again: local history goes before anything is lost."""
        table = ROW_TABLES[prio]
        oldest = self._db.one(f"SELECT min(id) FROM {table}")  # noqa: S608
        for first, last in self._outgoing.settled(prio):
            if oldest is None or last < oldest:
                continue
            went = self._db.execute(
                f"DELETE FROM {table} WHERE id IN"  # noqa: S608
                f" (SELECT id FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
                (first, last, self._step),
            )
            if went:
                return went
        return 0

    def _thin(self, gaps: GapSet) -> int:
        """Every second row of each topic, from the oldest on; a new round when the newest is reached."""
        oldest = self._waiting(_TELE, 0, 1)
        if not oldest:
            return 0
        if oldest[0][0] > self._thin_until:
            self._round, self._thin_after = 0, 0
        while self._round < _THINNINGS:
            rows = self._waiting(_TELE, self._thin_after, 2 * self._step)
            if self._round:
                rows = [row for row in rows if row[0] <= self._thin_until]
            if rows:
                self._thin_after = rows[-1][0]
                self._thin_until = max(self._thin_until, self._thin_after)
                if went := self._remove(_TELE, filter(self._every_second, rows), "thinned", gaps):
                    return went
                continue
            self._round, self._thin_after = self._round + 1, 0
            self._take_next.clear()
        return 0

    def _every_second(self, row: Found) -> bool:
        topic = f"{row[2]}/{row[3]}"
        take = self._take_next.get(topic, False)
        self._take_next[topic] = not take
        return take

    def _drop_oldest(self, prio: int, gaps: GapSet) -> int:
        looked_until = 0
        while rows := self._waiting(prio, looked_until, self._step):
            newest = rows[-1][0]
            went = self._remove(prio, iter(rows), "quota", gaps)
            if prio and went == len(rows) and not looked_until:
                self._gone.append((prio, 1, newest))
            if went:
                return went
            looked_until = newest
        return 0

    def _remove(self, prio: int, rows: Iterator[Found], reason: str, gaps: GapSet) -> int:
        """Deletes those whose loss can be declared."""
        gone: list[tuple[int]] = []
        for row_id, epoch_no, kind, _, head in rows:
            try:
                segments = segments_of(kind, head, partial(self._body, prio, row_id))
            except Rejected:
                continue  # damaged twice over: stays until it is read for sending
            for stream, first, last in segments:
                gaps.add(stream, self._epochs.id_of(epoch_no), first, last, reason)
            gone.append((row_id,))
        self._db.execute_many(f"DELETE FROM {ROW_TABLES[prio]} WHERE id = ?", gone)  # noqa: S608
        return len(gone)

    def _waiting(self, prio: int, after: int, limit: int) -> list[Any]:
        """The oldest undelivered rows with an id above `after`, ledger entries left out."""
        rows: list[Any] = []
        for first, last in self._outgoing.waiting(prio, after):
            rows += self._db.query(
                f"SELECT id, epoch, kind, key, head FROM {ROW_TABLES[prio]}"  # noqa: S608
                " WHERE id BETWEEN ? AND ? AND kind <> 'ledger' ORDER BY id LIMIT ?",
                (first, last, limit - len(rows)),
            )
            if len(rows) >= limit:
                break
        return rows

    def _body(self, prio: int, row_id: int) -> bytes:
        return as_stored(self._db.one(f"SELECT body FROM {ROW_TABLES[prio]} WHERE id = ?", (row_id,)))  # noqa: S608
