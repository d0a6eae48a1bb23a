"""What the last epoch left behind, found without looking at the backlog.

Every few hundred rows the writer notes where each stream stood. The rows after that note say the rest in their
heads, so the work is bounded by the distance between notes, however many rows are waiting.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.contract.rows import PRIORITIES
from edge_agent.errors import Rejected
from edge_agent.store.database import ROW_TABLES, Damaged, Database
from edge_agent.store.head import RowId, Settled, as_stored, decode_head, ledger_body, row_crc, segments_of
from edge_agent.store.identity import StartNo
from edge_agent.store.settled import Outgoing
from edge_agent.unreadable import UNREADABLE

_OF_EACH_PRIORITY = msgspec.Meta(min_length=len(PRIORITIES), max_length=len(PRIORITIES))


class Note(msgspec.Struct, frozen=True):
    """Where everything stood when the rows up to `newest` (by priority) were committed."""

    epoch_no: StartNo = 0
    epoch: str = ""
    newest: Annotated[tuple[RowId, ...], _OF_EACH_PRIORITY] = tuple(0 for _ in PRIORITIES)
    last: dict[str, int] = {}
    """By stream: the highest number that a row or a gap of this epoch accounts for."""
    cursors: dict[str, int] = {}
    """By stream, of all epochs: the device's own number of the last committed sample."""
    settled: Settled = ()


_NEWEST_ROWS = 16
NOTE = "note"
"""Its key in the table meta."""


def encode_note(note: Note) -> bytes:
    return msgspec.json.encode(note)


def recover(db: Database) -> Note:
    """The note brought up to the last committed row. Raises Damaged where the store contradicts itself."""
    written = db.one("SELECT value FROM meta WHERE key = ?", (NOTE,))
    if written is None:
        return Note()
    try:
        note = msgspec.json.decode(as_stored(written), type=Note)
    except UNREADABLE as error:
        raise Damaged(f"{db.path}: the note of the last epoch is unreadable") from error
    last, cursors = dict(note.last), dict(note.cursors)
    outgoing = Outgoing()
    outgoing.restore(note.settled)
    newest = list(note.newest)
    for prio, table in enumerate(ROW_TABLES):
        rows = db.query(f"SELECT id, kind, head FROM {table} WHERE id > ? ORDER BY id", (newest[prio],))  # noqa: S608
        for row_id, kind, head in rows:
            newest[prio] = row_id
            _account(db, table, row_id, kind, head, note.epoch, last)
            _take_along(head, cursors, outgoing)
    return Note(note.epoch_no, note.epoch, tuple(newest), last, cursors, outgoing.to_keep(None))


def refuse_others(db: Database) -> None:
    """Raises Damaged where several of the newest rows are whole and not what this store wrote.

    Such as when the -wal of another one is applied: asked over a read-only connection, since one that writes would
    put it into the file for good. Rows that are damaged are left to whoever reads them for sending.
    """
    strange = 0
    for table in ROW_TABLES:
        rows = db.query(
            f"SELECT id, epoch, kind, key, n, crc, head, body FROM {table} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (_NEWEST_ROWS,),
        )
        for row_id, epoch_no, kind, key, n, crc, head, body in rows:
            strange += crc != row_crc(db.store, row_id, epoch_no, kind, key, n, head, body) and _whole(head, body)
    if strange > 1:
        raise Damaged(f"{db.path}: {strange} of the newest rows are not what this store wrote")


def _whole(head: bytes, body: bytes) -> bool:
    """Both check themselves."""
    try:
        decode_head(head)
        decode.inflate(body)
    except (Rejected, TypeError):  # TypeError: no bytes at all
        return False
    return True


def _account(
    db: Database, table: str, row_id: int, kind: str, head: bytes, epoch: str, last: dict[str, int]
) -> None:
    def body() -> bytes:
        return as_stored(db.one(f"SELECT body FROM {table} WHERE id = ?", (row_id,)))  # noqa: S608

    try:
        for stream, _, highest in segments_of(kind, head, body):
            last[stream] = max(last.get(stream, -1), highest)
        if kind == topics.LEDGER:
            _account_gaps(ledger_body(head, body()), epoch, last)
    except Rejected:
        return  # unreadable twice over: whoever reads the row for sending declares it


def _account_gaps(body: bytes, epoch: str, last: dict[str, int]) -> None:
    entry = decode.decode_row(body)
    if isinstance(entry, messages.GapMessage):
        for stream, of, _, highest, _ in decode.lost(entry):
            if of == epoch:
                last[stream] = max(last.get(stream, -1), highest)


def _take_along(head: bytes, cursors: dict[str, int], outgoing: Outgoing) -> None:
    try:
        known = decode_head(head)
    except Rejected:
        return
    cursors.update(known.cursors)
    outgoing.restore(known.settled)
