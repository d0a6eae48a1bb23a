"""The one writer of the store: a transaction is a group of rows, what it makes room for, and what that loses.

What it promises: when `commit` returned, its rows are on the disk, under numbers that no other row has. When it
raised, either nothing of it is there, or `reopen` finds all of it and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from edge_agent.contract import topics
from edge_agent.contract.rows import LEDGER_STREAM, Draft, RowEncoder
from edge_agent.errors import Fatal, Retryable
from edge_agent.store import database
from edge_agent.store.database import ROW_TABLES, Damaged, Database, Limits
from edge_agent.store.epochs import Epochs
from edge_agent.store.gaps import GapSet
from edge_agent.store.head import as_stored
from edge_agent.store.identity import Job
from edge_agent.store.recovery import NOTE, Note, encode_note
from edge_agent.store.retention import Retention
from edge_agent.store.salvage import SavedRow
from edge_agent.store.settled import Outgoing, Verdict
from edge_agent.store.tables import Tables
from edge_agent.store.takeover import TAKEN, Piece, Taken
from edge_agent.store.witness import Said, Witness
from edge_agent.unreadable import UNREADABLE

_ROWS_PER_NOTE = 256
"""The most that a start has to look at beside the note."""
_ROW_OVERHEAD = 200
"""Bytes of a row beside its body, at most of most."""
_NOTED_RANGES = 1000


class TimeFix(msgspec.Struct, frozen=True):
    """UTC of the boot is its monotonic time plus `offset_ms`."""

    boot: str
    offset_ms: int
    uncertainty_ms: int


class Committed(msgspec.Struct, frozen=True):
    """What is on the disk now. `newest` is by priority; `cursors` are the devices' numbers in this commit, `lost`
    how many numbers it declares as gaps, by reason."""

    newest: tuple[int, ...]
    rows: int = 0
    readings: int = 0
    body_bytes: int = 0
    cursors: dict[str, int] = {}
    lost: dict[str, int] = {}


class Opening(Protocol):
    """Where a writer's file comes from."""

    @property
    def directory(self) -> Path: ...

    @property
    def jobs(self) -> tuple[Job, ...]: ...

    @property
    def witness(self) -> Witness: ...

    @property
    def store(self) -> str: ...

    def begin(self, writer: Writer) -> None: ...

    def give_up(self, reason: str) -> None: ...

    def press(self) -> None: ...

    def relieve(self) -> None: ...

    def move_on(self, writer: Writer) -> Database: ...

    def finished(self, name: str) -> None: ...

    def close(self) -> None: ...


class _Attempt(msgspec.Struct):
    """What becomes true when the transaction is on the disk."""

    committed: Committed
    taken: Taken
    last: dict[str, int]
    noted: bool
    changes: int
    verdicts: int
    gone: list[tuple[int, int, int]]


class Writer:
    """Used from one thread at a time."""

    def __init__(self, path: Path, limits: Limits, *, encoder: RowEncoder, opening: Opening) -> None:
        """Not open until `begin`."""
        self.path = path
        self.limits = limits
        self.encoder = encoder
        self.epoch = encoder.epoch
        self.start_no = 0
        """Zero until it was open once."""
        self.offline = "the store was not opened yet"
        """Why there is no file; empty while there is one."""
        self.found = ""
        """Why the store before this one could not be used, empty where it could."""
        self.outgoing = Outgoing()
        self.undeclared = 0
        """Rows given up whose numbers could not be made out."""
        self.damaged = ""
        """Why the file has to be left at the next `reopen`, empty while it is trusted."""
        self.taken = Taken()
        """How far the rows of an older file are taken over."""
        self._opening = opening
        self._last: dict[str, int] = {}
        self._cursors: dict[str, int] = {}
        self._newest = [0 for _ in ROW_TABLES]
        self._births: list[tuple[int, str, str, int]] = []
        self._entries: list[Callable[[int], Draft]] = []
        """Ledger entries that wait for their number."""
        self._rows_since_note = _ROWS_PER_NOTE
        self._kept_changes = 0
        self._attempt: _Attempt | None = None

    def begin(self, db: Database, note: Note, *, found: str) -> None:
        """Goes on in this file from what the last epoch left."""
        self.start_no, self.found = note.epoch_no, found
        self._last = dict(note.last)
        self._cursors = dict(note.cursors)
        self._newest = list(note.newest)
        self._rows_since_note = _ROWS_PER_NOTE
        self.outgoing.restore(note.settled)
        self.outgoing.committed(note.newest)
        taken = db.one("SELECT value FROM meta WHERE key = ?", (TAKEN,))
        try:
            self.taken = msgspec.json.decode(as_stored(taken), type=Taken) if taken else Taken()
        except UNREADABLE as error:
            raise Damaged(f"{self.path}: how far a salvage had come is unreadable") from error
        self._use(db)

    def abandon(self, reason: str) -> None:
        """The file that it began in could not be written: as if it had not begun."""
        self.offline, self.start_no = reason, 0
        self._births.clear()
        self._entries.clear()
        self._attempt = None

    @property
    def cursors(self) -> dict[str, int]:
        """By stream: the device's own number of the last committed sample."""
        return dict(self._cursors)

    @property
    def last(self) -> dict[str, int]:
        """By stream of this epoch: the highest number that is committed or declared lost."""
        return dict(self._last)

    def fix_time(self, fix: TimeFix) -> None:
        """Goes into the ledger with the next commit."""
        self._entries.append(
            partial(
                self.encoder.time_fix,
                boot=fix.boot,
                offset_ms=fix.offset_ms,
                uncertainty_ms=fix.uncertainty_ms,
            )
        )

    def begin_epoch(self, boot: str, wall_ms: int) -> None:
        """On the disk with the next commit, before anything is published under it."""
        self._births = [(self.start_no, self.epoch, boot, wall_ms)]

    def close_epoch(self, closed: str, last: dict[str, int], lost: str) -> None:
        """Goes into the ledger with the next commit: where the streams of the epoch before ended."""
        self._entries.append(partial(self.encoder.close, closed=closed, last=last, lost=lost))

    @property
    def pending(self) -> bool:
        """Whether a commit without rows would have something to write."""
        return bool(self._entries) or self.outgoing.changes != self._kept_changes

    @property
    def store(self) -> str:
        """The id of the database that is written now, empty while none was opened."""
        return self._opening.store

    @property
    def salvaging(self) -> list[str]:
        """The databases moved aside whose rows are to be taken over, oldest first."""
        return [job.name for job in self._opening.jobs]

    @property
    def directory(self) -> Path:
        return self._opening.directory

    def commit(self, drafts: Sequence[Draft], declared: GapSet) -> Committed:
        """Rows, and losses to declare. Raises Full, Damaged or Retryable; both are then still the caller's."""
        return self._commit(drafts, declared, Piece(self.taken))

    def take_over(self, piece: Piece) -> Committed:
        """Rows of a database that was moved aside, under their own numbers, and what it cannot give any more.

        Raises as `commit` does.
        """
        lost = GapSet()
        for stream, epoch, first, last in piece.lost:
            lost.add(stream, epoch, first, last, "corrupt")
        entries = list(self._entries)
        if piece.closed and piece.last:
            self.close_epoch(piece.closed, piece.last, "corrupt")
        try:
            return self._commit((), lost, piece)
        except Retryable:
            self._entries = entries
            raise

    def finished(self, name: str) -> None:
        """All that the database `name` gives is taken over, and on the disk."""
        self._opening.finished(name)

    def _commit(self, drafts: Sequence[Draft], declared: GapSet, piece: Piece) -> Committed:
        if self.offline:
            raise Retryable(self.offline)
        changes = self.outgoing.changes
        verdicts = self.outgoing.verdicts()
        try:
            return self._transact(drafts, declared, piece, changes, verdicts)
        except Retryable:
            self._retention = self._new_retention()  # what it deleted is there again
            raise

    def _transact(
        self, drafts: Sequence[Draft], declared: GapSet, piece: Piece, changes: int, verdicts: list[Verdict]
    ) -> Committed:
        with self._db.transaction():
            lost = GapSet()
            lost.update(declared)
            for verdict in verdicts:
                self.undeclared += not self._tables.bury(verdict, lost)
            rows, trimmed = self._with_room(drafts, lost, piece.rows)
            for row in self._births:
                self._db.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?)", row)
            last = self._heads(rows, lost)
            newest = self._tables.insert(self.start_no, rows, piece.rows, self._newest, self.outgoing.to_keep())
            if piece.taken != self.taken:
                taken = msgspec.json.encode(piece.taken)
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (TAKEN, taken))
            cursors = _cursors(drafts, declared)
            # a cursor that stands in no row's head; rows of other epochs, which no start may count for this one
            noted = bool(trimmed or verdicts or declared.cursors or piece.rows)
            noted = noted or self._note_due(len(rows), changes)
            if noted:
                self._write_note(newest, last, cursors)
            self._attempt = _Attempt(
                Committed(
                    newest,
                    len(rows) + len(piece.rows),
                    sum(d.n for d in drafts),
                    sum(len(d.body) for d in rows) + sum(len(row.body) for row in piece.rows),
                    cursors,
                    lost.counts(),
                ),
                piece.taken,
                last,
                noted,
                changes,
                len(verdicts),
                self._retention.gone(),
            )
        return self._succeeded()

    def reopen(self) -> Committed | None:
        """The file, or a fresh connection to it after an error; a new file where it is damaged.

        A commit that raised and landed nevertheless is returned. Raises Retryable while the disk refuses.
        """
        if not self.start_no:
            self._begin_late()
            return None
        if not self.offline:
            self.offline = "the store's connection was given up after an error"
            with suppress(Retryable):  # what a damaged file says at its end is no news
                self._db.close()
        if self.damaged:
            self._leave_file()
            return None
        self._use(database.open_writer(self.path, self.limits))
        self._db.checkpoint()  # after a failed fsync only what is written anew is known to be on the disk
        attempt = self._attempt
        if attempt is None or not attempt.committed.rows:
            return None
        highest = tuple(self._db.one(f"SELECT max(id) FROM {table}") or 0 for table in ROW_TABLES)  # noqa: S608
        landed = any(here > known for here, known in zip(highest, self._newest, strict=True))
        return self._succeeded() if landed else None

    def press(self) -> None:
        """The volume is full: the store's reserve goes, and what was kept for a person only."""
        self._opening.press()

    def relieve(self) -> None:
        """Takes the reserve again, if there is room."""
        self._opening.relieve()

    def give_up_file(self, reason: str) -> None:
        """The database is damaged: `reopen`, or the next start, moves it aside instead of trusting it."""
        self.damaged = reason
        with suppress(Retryable):  # then the next start has to find out by itself
            self._opening.give_up(reason)

    def close(self) -> None:
        """After the last commit and when every reader is closed: leaves one file, without a -wal.

        It notes where every stream ended, so that a last row which somebody takes away meanwhile is missed.
        """
        if not self.offline:
            with suppress(Retryable):  # a volume that is full, or gone: the rows themselves still say it
                if self._rows_since_note and not self._births and self._attempt is None:
                    with self._db.transaction():
                        self._write_note(tuple(self._newest), self._last, {})
            self._db.close()
        self._opening.close()

    def _begin_late(self) -> None:
        try:
            self._opening.begin(self)
        except Fatal as error:  # it would have stopped a start; an agent that runs goes on and says it
            raise Retryable(error.message, hint=error.hint) from error

    def _leave_file(self) -> None:
        """Ids go on where they were, so that what the uplink still says of the old rows hits no new one."""
        db = self._opening.move_on(self)
        newest = tuple(self._newest)
        note = Note(self.start_no, self.epoch, newest, self._last, self._cursors)
        try:
            with db.transaction():
                db.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?, '', 0)", (self.start_no, self.epoch))
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NOTE, encode_note(note)))
        except BaseException:
            db.close()
            raise
        self.outgoing.left(newest)
        self._attempt = None
        self.taken, self.damaged = Taken(), ""
        self._use(db)

    def _use(self, db: Database) -> None:
        self._db = db
        self.offline = ""
        self._epochs = Epochs(self._db)
        self._tables = Tables(self._db, self._epochs)
        self._retention = self._new_retention()

    def _new_retention(self) -> Retention:
        return Retention(self._db, self.limits, self.outgoing, self._epochs)

    def _with_room(
        self, drafts: Sequence[Draft], lost: GapSet, saved: Sequence[SavedRow]
    ) -> tuple[list[Draft], int]:
        """The rows of the commit, and how many went to make room for them: declaring that takes room too."""
        self._retention.begin()
        rows, trimmed = list(drafts), 0
        known_bytes = -1
        saved_bytes = _bytes_in_file([row.draft() for row in saved])
        while (needed_bytes := _bytes_in_file(rows) + saved_bytes) > known_bytes:
            known_bytes = needed_bytes
            trimmed += self._retention.make_room(needed_bytes, lost)
            rows = [*self._ledger(lost), *drafts]
        return rows, trimmed

    def _ledger(self, lost: GapSet) -> list[Draft]:
        """Numbered here and nowhere else: also what makes room before the first commit of an epoch is in it."""
        first = self._last.get(LEDGER_STREAM, -1) + 1
        entries = [entry(first + i) for i, entry in enumerate(self._entries)]
        return entries + lost.drafts(self.encoder, first + len(entries))

    def _heads(self, rows: Sequence[Draft], lost: GapSet) -> dict[str, int]:
        last = dict(self._last)
        for draft in rows:
            for stream, _, highest in draft.segments:
                last[stream] = max(last.get(stream, -1), highest)
        for stream, epoch, _, highest, _ in lost:
            if epoch == self.epoch:
                last[stream] = max(last.get(stream, -1), highest)
        return last

    def _note_due(self, rows: int, changes: int) -> bool:
        if not rows and changes != self._kept_changes:
            return True
        return self._rows_since_note + rows >= _ROWS_PER_NOTE

    def _write_note(self, newest: tuple[int, ...], last: dict[str, int], cursors: dict[str, int]) -> None:
        note = Note(
            self.start_no,
            self.epoch,
            newest,
            last,
            self._cursors | cursors,
            self.outgoing.to_keep(_NOTED_RANGES),
        )
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NOTE, encode_note(note)))

    def _succeeded(self) -> Committed:
        attempt = self._attempt
        assert attempt is not None
        committed = attempt.committed
        self._attempt = None
        told = attempt.last == self._last and not committed.cursors
        self._last = attempt.last
        self.taken = attempt.taken
        self._cursors.update(committed.cursors)
        if not told:
            self._opening.witness.tell(Said(self.epoch, self._last, self._cursors))
        self._newest = list(committed.newest)
        self._rows_since_note = 0 if attempt.noted else self._rows_since_note + committed.rows
        self._kept_changes = attempt.changes
        self._entries.clear()
        self._births.clear()
        self.outgoing.carried_out(attempt.verdicts)
        self.outgoing.vanished(attempt.gone)
        self.outgoing.committed(committed.newest)
        return committed


def _bytes_in_file(rows: Sequence[Draft]) -> int:
    """About: a ledger entry's body is there twice."""
    return sum(len(d.body) * (2 if d.kind == topics.LEDGER else 1) + _ROW_OVERHEAD for d in rows)


def _cursors(drafts: Sequence[Draft], declared: GapSet) -> dict[str, int]:
    """By stream: the cursor that came after the highest number."""
    newest: dict[str, tuple[int, int]] = {}
    for draft in drafts:
        for stream, _, last in draft.segments if draft.cursors else ():
            cursor = (draft.cursors or {}).get(stream)
            if cursor is not None and last > newest.get(stream, (-1, 0))[0]:
                newest[stream] = last, cursor
    for stream, place in declared.cursors.items():
        if place[0] >= newest.get(stream, place)[0]:
            newest[stream] = place
    return {stream: cursor for stream, (_, cursor) in newest.items()}
