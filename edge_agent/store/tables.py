"""Rows into their tables and out of them, within the writer's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge_agent.contract.rows import Draft
from edge_agent.errors import Rejected
from edge_agent.store.database import ROW_TABLES, Database
from edge_agent.store.epochs import Epochs
from edge_agent.store.gaps import GapSet
from edge_agent.store.head import Settled, as_stored, encode_head, row_crc, segments_of
from edge_agent.store.salvage import SavedRow
from edge_agent.store.settled import Verdict

_DEAD_LETTERS = 1000


class Tables:
    """Of one connection."""

    def __init__(self, db: Database, epochs: Epochs) -> None:
        self._db = db
        self._epochs = epochs

    def insert(
        self, start_no: int, rows: Sequence[Draft], saved: Sequence[SavedRow], newest: Sequence[int], settled: Settled
    ) -> tuple[int, ...]:
        """Rows of the epoch `start_no` and saved ones of others, behind the ids `newest` (by priority); returns the
        newest then. `settled` goes into the first row's head."""
        ids = list(newest)
        values: list[list[tuple[object, ...]]] = [[] for _ in ROW_TABLES]
        others = [(self._number_of(row, start_no), row.draft()) for row in saved]
        for epoch_no, draft in [*((start_no, draft) for draft in rows), *others]:
            prio = draft.prio
            ids[prio] += 1
            head = encode_head(draft, settled)
            settled = ()  # once in a commit
            crc = row_crc(self._db.store, ids[prio], epoch_no, draft.kind, draft.key, draft.n, head, draft.body)
            values[prio].append((ids[prio], epoch_no, draft.kind, draft.key, draft.n, crc, head, draft.body))
        for table, some in zip(ROW_TABLES, values, strict=True):
            if some:
                self._db.execute_many(f"INSERT INTO {table} VALUES (?,?,?,?,?,?,?,?)", some)  # noqa: S608
        return tuple(ids)

    def bury(self, verdict: Verdict, lost: GapSet) -> bool:
        """Moves the row to the dead letters, but for one that was only too much, and declares its numbers. False
        where they cannot be made out."""
        table = ROW_TABLES[verdict.prio]
        declared = True
        rows = self._db.query(
            f"SELECT epoch, kind, head, body FROM {table} WHERE id = ?",  # noqa: S608
            (verdict.id,),
        )
        for epoch_no, kind, head, body in rows:
            keep = verdict.reason != "thinned"
            try:
                for stream, first, last in segments_of(kind, head, partial(as_stored, body)):
                    lost.add(stream, self._epochs.id_of(epoch_no), first, last, verdict.reason)
            except Rejected:
                declared, keep = False, True
            if keep:
                self._db.execute(  # within SQLite: damage can have made texts of it that Python cannot write
                    "INSERT INTO dead(prio, row, code, reason, epoch, kind, key, n, crc, head, body)"  # noqa: S608
                    f" SELECT ?, id, ?, ?, epoch, kind, key, n, crc, head, body FROM {table} WHERE id = ?",
                    (verdict.prio, verdict.code, verdict.reason, verdict.id),
                )
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (verdict.id,))  # noqa: S608
            self._db.execute("DELETE FROM dead WHERE id <= (SELECT max(id) FROM dead) - ?", (_DEAD_LETTERS,))
        return declared

    def _number_of(self, row: SavedRow, start_no: int) -> int:
        """Of the row's epoch in this file: the number that it had, unless another epoch has it here."""
        known = self._db.one("SELECT no FROM epoch WHERE id = ?", (row.epoch,))
        if known is not None:
            return int(known)
        number = row.epoch_no
        if not 0 < number < start_no or self._db.one("SELECT 1 FROM epoch WHERE no = ?", (number,)):
            number = min(self._db.one("SELECT min(no) FROM epoch") or 0, 0) - 1
        self._db.execute("INSERT INTO epoch VALUES (?, ?, '', 0)", (number, row.epoch))
        return number
