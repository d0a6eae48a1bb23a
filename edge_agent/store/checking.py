"""A store held to its own promises, by reading alone: SQLite's structure, the CRC of every row, the numbering.

Safe beside a running agent: every look is a short transaction, and rows that are delivered or thinned meanwhile are
accounted for at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.contract.rows import PRIORITIES
from edge_agent.store.database import ROW_TABLES, SCHEMA, Damaged, Database
from edge_agent.store.epochs import Epochs
from edge_agent.store.head import row_crc
from edge_agent.store.numbering import Numbering
from edge_agent.store.reader import opened
from edge_agent.store.recovery import Note, recover
from edge_agent.store.walking import Told, tell_nobody, walk

_MOST_FINDINGS = 100

STRUCTURE, UNREADABLE, DAMAGED, EPOCH, AGAIN, BOTH, HOLE = (
    "structure", "unreadable", "damaged", "epoch", "again", "both", "hole",
)  # fmt: skip
"""SQLite's own complaint; a row that the file cannot give; a CRC that is wrong; a row of an epoch that nobody knows;
a number in two rows; a number in a row and in a gap; a number in neither."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `prio` and `row` say where, -1 and 0 where it is in no row; the rest where it has
    numbers."""

    what: str
    prio: int = -1
    row: int = 0
    stream: str = ""
    epoch: str = ""
    first: int = -1
    last: int = -1
    text: str = ""


class Checked(msgspec.Struct, frozen=True):
    """`findings` are the first hundred; `counts` are all, by what they are."""

    opened: str
    rows: int
    readings: int
    findings: list[Finding]
    counts: dict[str, int]
    unjudged: int
    """Numbers in no row and no gap that is still here: their gap records were delivered and let go."""

    @property
    def ok(self) -> bool:
        return not self.counts


class Progress(msgspec.Struct, frozen=True):
    """`began(rows)` is told once how much there is, `read(rows)` again and again how much more was read."""

    began: Callable[[int], None] = tell_nobody
    read: Told = tell_nobody


SILENT = Progress()


def check_store(path: Path, progress: Progress = SILENT) -> Checked:
    """Everything that is wrong with the store at `path`, which is not changed.

    Raises Retryable where there is none or it cannot be opened, Fatal for a file that is not ours or newer.
    """
    with opened(path) as (db, how):
        return _Check(db, how, progress).run()


class _Check:
    def __init__(self, db: Database, how: str, progress: Progress) -> None:
        self._db = db
        self._how = how
        self._progress = progress
        self._rows = self._readings = self._unjudged = 0
        self._findings: list[Finding] = []
        self._counts: dict[str, int] = {}

    def run(self) -> Checked:
        self._structure()
        note = self._note()
        if note is not None:
            self._progress.began(sum(note.newest))
            numbering = Numbering(self._db, note)
            for prio in PRIORITIES:
                self._table(prio, note.newest[prio], numbering)
            self._holes(numbering)
        return Checked(self._how, self._rows, self._readings, self._findings, dict(self._counts), self._unjudged)

    def _found(self, finding: Finding) -> None:
        self._counts[finding.what] = self._counts.get(finding.what, 0) + 1
        if len(self._findings) < _MOST_FINDINGS:
            self._findings.append(finding)

    def _structure(self) -> None:
        """A table at a time: a reader that keeps the writer's checkpoint waiting shall not do it for long."""
        for text in self._complaints("SELECT name, sql FROM sqlite_schema", lambda rows: _other_schema(dict(rows))):
            self._found(Finding(STRUCTURE, text=text))
        for table in SCHEMA:
            for text in self._complaints(f"PRAGMA quick_check('{table}')", _said):
                self._found(Finding(STRUCTURE, text=f"{table}: {text}"))

    def _complaints(self, sql: str, judged: Callable[[list[tuple[Any, ...]]], list[str]]) -> list[str]:
        try:
            return judged(self._db.query(sql))
        except Damaged as error:
            return [error.message]

    def _note(self) -> Note | None:
        try:
            return recover(self._db)
        except Damaged as error:
            self._found(Finding(STRUCTURE, text=error.message))
            return None

    def _table(self, prio: int, newest: int, numbering: Numbering) -> None:
        epochs = Epochs(self._db)

        def unreadable(row_id: int) -> None:
            self._found(Finding(UNREADABLE, prio, row_id))

        columns = "epoch, kind, key, n, crc, head, body"
        rows = walk(self._db, ROW_TABLES[prio], columns, newest, told=self._progress.read, unreadable=unreadable)
        for row_id, epoch_no, kind, key, n, crc, head, body in rows:
            self._rows += 1
            if not _crc_holds(self._db.store, row_id, epoch_no, kind, key, n, crc, head, body):
                self._found(Finding(DAMAGED, prio, row_id))
            elif not epochs.id_of(epoch_no):
                self._found(Finding(EPOCH, prio, row_id, text=f"start number {epoch_no}"))
            else:
                self._readings += n
            for clash in numbering.row(prio, row_id, epoch_no, kind, head, body):
                what = AGAIN if clash.what == "again" else BOTH
                self._found(Finding(what, prio, row_id, clash.stream, clash.epoch, clash.first, clash.last))

    def _holes(self, numbering: Numbering) -> None:
        for hole, certain in numbering.holes():
            if certain:
                self._found(Finding(HOLE, hole.prio, 0, hole.stream, hole.epoch, hole.first, hole.last))
            else:
                self._unjudged += hole.last - hole.first + 1
        if numbering.holes_left_out:
            self._counts[HOLE] = self._counts.get(HOLE, 0) + numbering.holes_left_out


def _crc_holds(
    store: bytes, row_id: int, epoch_no: object, kind: object, key: object, n: object, crc: object, *parts: object
) -> bool:
    """Damage can change even the types."""
    head, body = parts
    if not (isinstance(epoch_no, int) and isinstance(n, int) and isinstance(head, bytes) and isinstance(body, bytes)):
        return False
    return crc == row_crc(store, row_id, epoch_no, str(kind), str(key), n, head, body)


def _said(rows: list[tuple[Any, ...]]) -> list[str]:
    return [text for (text,) in rows if text != "ok"]


def _other_schema(tables: dict[str, str]) -> list[str]:
    changed: Iterator[str] = (name for name in tables.keys() | SCHEMA.keys() if tables.get(name) != SCHEMA.get(name))
    return [f"{name} is not as the agent made it" for name in sorted(changed)]
