"""Gap records, made fewer: the last thing before decisions go.

A year of losses of alternating kinds would fill the store with the record of them. Merged, the losses of a stream
are as few ranges as can be; the price is their reason, which then is `quota` for all. Merging in vain is avoided:
after a pass the next one waits until the undelivered entries have doubled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge_agent.contract import decode, messages
from edge_agent.contract.rows import LEDGER_STREAM, PRIORITIES
from edge_agent.errors import Rejected
from edge_agent.store.database import PAGE_BYTES, ROW_TABLES, Database, Limits
from edge_agent.store.gaps import GapSet
from edge_agent.store.head import ledger_body
from edge_agent.store.settled import Outgoing

_ENTRIES = 256
_LEDGER = ROW_TABLES[PRIORITIES[0]]


class GapMerging:
    """Works inside the writer's transaction."""

    def __init__(self, db: Database, limits: Limits, outgoing: Outgoing) -> None:
        self._db = db
        self._outgoing = outgoing
        self._worth_bytes = limits.max_pages * PAGE_BYTES // 32
        self._after = 0
        self._until = 0
        """The pass goes on while `_after` is below; the entries that it makes come above."""
        self._made_bytes: int | None = 0
        """What the last pass made of everything before, None until that is committed."""
        self._ended_at = -1

    def merge(self, gaps: GapSet) -> int:
        """Takes some gap records out and adds what they declare to `gaps`; returns how many."""
        if self._after >= self._until and not self._begin_pass():
            return 0
        entries = list(self._entries("id, head, body", self._after, self._until, _ENTRIES))
        if not entries:
            self._after, self._made_bytes = self._until, None
            self._ended_at = self._outgoing.newest(PRIORITIES[0])
            return 0
        self._after = entries[-1][0]
        merged = [(row_id,) for row_id, head, body in entries if _take_over(head, body, gaps)]
        self._db.execute_many(f"DELETE FROM {_LEDGER} WHERE id = ?", merged)  # noqa: S608
        return len(merged) or self.merge(gaps)

    def _begin_pass(self) -> bool:
        newest = self._outgoing.newest(PRIORITIES[0])
        if newest == self._ended_at:
            return False
        sizes = self._entries("length(head) + length(body)", self._until, newest, -1)
        waiting_bytes = sum(size for (size,) in sizes)
        if self._made_bytes is None:
            self._made_bytes = waiting_bytes
        if waiting_bytes < 2 * self._made_bytes + self._worth_bytes:
            return False
        self._until = newest
        return True

    def _entries(self, columns: str, after: int, until: int, limit: int) -> Iterator[tuple[Any, ...]]:
        """Undelivered ledger entries, oldest first; `limit` -1 for all."""
        for first, last in self._outgoing.waiting(PRIORITIES[0], after):
            rows = self._db.query(
                f"SELECT {columns} FROM {_LEDGER} WHERE id BETWEEN ? AND ? AND kind = 'ledger'"  # noqa: S608
                " ORDER BY id LIMIT ?",
                (first, min(last, until), limit),
            )
            yield from rows
            limit = max(limit - len(rows), 0) if limit >= 0 else limit


def _take_over(head: bytes, body: bytes, gaps: GapSet) -> bool:
    """False where the entry is a closing or a time fix, which stay, or is damaged in both its copies."""
    try:
        entry = decode.decode_row(ledger_body(head, body))
    except Rejected:
        return False
    if not isinstance(entry, messages.GapMessage):
        return False
    for stream, epoch, first, last, _ in decode.lost(entry):
        gaps.add(stream, epoch, first, last, "quota")
    gaps.add(LEDGER_STREAM, entry.epoch, entry.seq, entry.seq, "quota")
    return True
