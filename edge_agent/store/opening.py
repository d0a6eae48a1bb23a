"""Opening the store: whatever lies there, the agent goes on, under an epoch that was never used before.

A file that cannot be used is moved aside with its -wal, kept and counted, and a new one is begun; what the old one
still holds is taken over beside the running agent. Where the disk cannot be read or written now, the store begins in
memory and opens when it can. Only a newer schema and a file that is not safely ours stop the start. The time it
takes does not depend on the backlog.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.contract.rows import RowEncoder
from edge_agent.contract.ulid import new_ulid
from edge_agent.errors import Fatal, Retryable
from edge_agent.ports import Clock
from edge_agent.store import database
from edge_agent.store.aside import (
    DATABASE,
    asides,
    bound_asides,
    delete_asides,
    finish_setting_aside,
    next_aside,
    set_aside,
)
from edge_agent.store.database import MIN_QUOTA_BYTES, Damaged, Database, Limits
from edge_agent.store.gaps import GapSet
from edge_agent.store.identity import (
    IDENTITY,
    MOST_STARTS,
    Identity,
    Job,
    make_folder,
    read_identity,
    sync_folder,
    write_identity,
)
from edge_agent.store.inspection import bytes_of, wal_of, why_not
from edge_agent.store.lock import DirectoryLock
from edge_agent.store.recovery import Note, recover
from edge_agent.store.reserve import give_reserve, quota_on, take_reserve
from edge_agent.store.witness import Witness
from edge_agent.store.writer import Writer

__all__ = ["DATABASE", "LOCK", "Opening", "asides", "open_store"]
LOCK = "store.lock"
_HOLDS_ROWS = frozenset({"corrupt", "mismatch", "schema"})
"""Why a file was moved aside that may hold rows of ours."""
_SETTLED_RANGES = 1000
LARGE_WAL_BYTES = 256 * 1024 * 1024
"""SQLite reads a -wal whole before the first row: what takes an SD card seconds is read beside the running agent."""
_NEEDS_A_PERSON = frozenset(
    {errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
)

Entropy = Callable[[int], bytes]


def open_store(
    directory: Path,
    *,
    gateway: str,
    quota_bytes: int,
    clock: Clock,
    entropy: Entropy = secrets.token_bytes,
    witness: Path | None = None,
) -> Writer:
    """The store in this directory, a new epoch begun and the one before closed, both on the disk.

    `witness`: a file on a tmpfs that is told where streams and devices stand, and is asked at the next start.

    Where the disk refuses now, it is not open: `Writer.offline` says why, and `Writer.reopen` tries again. Raises
    Fatal for what a person has to settle (newer schema, strange file, another agent, quota too small), and Retryable
    for a directory that can never be the agent's.
    """
    if quota_bytes < MIN_QUOTA_BYTES:
        raise Fatal(
            f"store.quota of {quota_bytes} bytes is too small", hint=f"give it at least {MIN_QUOTA_BYTES} bytes"
        )
    limits = Limits(quota_on(directory, quota_bytes, MIN_QUOTA_BYTES))
    opening = Opening(directory, limits, clock, entropy, Witness(witness))
    epoch = new_ulid(clock.now().wall_ns, entropy)
    writer = Writer(directory / DATABASE, limits, encoder=RowEncoder(gateway, epoch), opening=opening)
    try:
        opening.begin(writer)
    except Retryable as error:
        if _needs_a_person(error):
            raise
        writer.offline = str(error)
    return writer


class Opening:
    """How a writer gets its file: at the start, and when the file turns out to be damaged."""

    def __init__(
        self, directory: Path, limits: Limits, clock: Clock, entropy: Entropy, witness: Witness
    ) -> None:  # fmt: skip
        self.witness = witness
        self._directory = directory
        self._path = directory / DATABASE
        self._identity_path = directory / IDENTITY
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._lock: DirectoryLock | None = None
        self._identity: Identity | None = None
        self._jobs: tuple[Job, ...] = ()
        self._put_off = False

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def store(self) -> str:
        """The database's id, empty while nobody knows it."""
        return self._identity.store if self._identity else ""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Databases whose rows are to be taken over, oldest first."""
        return self._jobs

    def begin(self, writer: Writer) -> None:
        """Raises Fatal or Retryable, and may then be called again."""
        try:
            make_folder(self._directory)
            self._lock = DirectoryLock(self._directory / LOCK)
            self._put_off_a_large_wal()
            self._begin(writer)
            take_reserve(self._directory)
        except OSError as error:
            self.close()
            raise Retryable(
                f"{self._directory}: the store cannot be opened: {error}",
                hint="check the volume: mounted, writable, not full, owned by the agent's user",
            ) from error
        except BaseException:
            self.close()
            raise

    def give_up(self, reason: str) -> None:
        """The database is damaged: no start trusts it any more."""
        if self._identity is not None:
            self._write(msgspec.structs.replace(self._identity, damaged=reason))

    def move_on(self, writer: Writer) -> Database:
        """A new file for a running writer whose own is damaged: its epoch goes on, since its numbers do.

        May be repeated when it raised.
        """
        assert self._identity is not None
        try:
            name = next_aside(self._directory, "corrupt")
            job = Job(
                name, self._identity.store, "", writer.epoch, writer.last, writer.outgoing.to_keep(_SETTLED_RANGES)
            )
            if self._path.exists():
                self._write(msgspec.structs.replace(self._identity, jobs=(*self._jobs, job)))
                set_aside(self._path, name)
            finish_setting_aside(self._path)
            store = self._create()
            self._write(msgspec.structs.replace(self._identity, store=store, damaged=""))
            bound_asides(self._directory, self._limits.quota_bytes, needed=[job.name for job in self._jobs])
            return database.open_writer(self._path, self._limits)
        except OSError as error:
            raise Retryable(f"{self._directory}: no new database: {error}", hint="check the volume") from error

    def finished(self, name: str) -> None:
        """All that the database `name` gives is taken over."""
        if self._identity is not None:
            self._write(
                msgspec.structs.replace(self._identity, jobs=tuple(j for j in self._jobs if j.name != name))
            )

    def press(self) -> None:
        """The volume is full: what is not needed for rows goes."""
        give_reserve(self._directory)
        with suppress(OSError):
            delete_asides(self._directory, but=[job.name for job in self._jobs])

    def relieve(self) -> None:
        take_reserve(self._directory)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def _put_off_a_large_wal(self) -> None:
        """Raises Retryable, once."""
        wal = wal_of(self._path)
        size_bytes = bytes_of(wal)
        if size_bytes > LARGE_WAL_BYTES and not self._put_off:
            self._put_off = True
            raise Retryable(
                f"{wal} has {size_bytes // 1_000_000:,} MB, which are read before the store opens",
                hint="a program that reads in the store for long makes it grow: end it; the agent goes on in memory",
            )

    def _begin(self, writer: Writer) -> None:
        self._identity = read_identity(self._identity_path)
        self._jobs = self._identity.jobs if self._identity else ()
        found = why_not(self._path, self._identity)
        if not found:
            try:
                self._start(writer, "")
            except Damaged:
                found = "corrupt"
            else:
                return
        if found != "missing":
            self._set_aside(found)
        finish_setting_aside(self._path)
        self._create()
        self._start(writer, found)

    def _set_aside(self, why: str) -> None:
        name = next_aside(self._directory, why)
        if why in _HOLDS_ROWS:
            known = self._identity or Identity("", 0, "")
            self._jobs = (*self._jobs, Job(name, known.store, known.epoch))
            if self._identity is not None:
                self._write(msgspec.structs.replace(known, damaged=self._identity.damaged or why, jobs=self._jobs))
        set_aside(self._path, name)
        bound_asides(self._directory, self._limits.quota_bytes, needed=[job.name for job in self._jobs])

    def _start(self, writer: Writer, found: str) -> None:
        db = database.open_writer(self._path, self._limits)
        try:
            before = recover(db)
            now = self._clock.now()
            known = self._identity.epoch if self._identity else ""
            start_no = self._next_number(db, writer.epoch)
            closed = before.epoch or known
            told = self.witness.told(closed)
            cursors = before.cursors if before.epoch else told.cursors
            note = Note(start_no, writer.epoch, before.newest, {}, cursors, before.settled)
            writer.begin(db, note, found=found)
            writer.begin_epoch(now.boot, now.wall_ns // 1_000_000)
            if closed and closed != writer.epoch:
                last = {s: max(before.last.get(s, -1), told.last.get(s, -1)) for s in {**before.last, **told.last}}
                writer.close_epoch(closed, last, found)
            writer.commit([], GapSet())
        except BaseException:
            writer.abandon("the store could not be written at the start")
            db.close()
            raise

    def _next_number(self, db: Database, epoch: str) -> int:
        """In the small file before the database: a start that is cut off in between costs a number."""
        in_database = db.one("SELECT max(no) FROM epoch") or 0
        known = max(in_database, self._identity.start_no if self._identity else 0)
        if known >= MOST_STARTS or not db.store.isascii():
            raise Damaged(f"{db.path}: the store's id or its count of starts is not what the agent wrote")
        self._write(Identity(db.store.decode(), known + 1, epoch, jobs=self._jobs))
        return int(known + 1)

    def _write(self, identity: Identity) -> None:
        write_identity(self._identity_path, identity)
        self._identity, self._jobs = identity, identity.jobs

    def _create(self) -> str:
        """Under another name first: a file of the real name is always whole. Returns the new store's id."""
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        store = self._entropy(8).hex()
        database.create(beside, {"store": store.encode()})
        beside.replace(self._path)
        sync_folder(self._path.parent)
        return store


def _needs_a_person(error: BaseException) -> bool:
    """No waiting makes a file a folder, or gives rights."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NEEDS_A_PERSON:
            return True
        cause = cause.__cause__
    return False
