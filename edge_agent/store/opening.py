"""Opening the store: whatever lies there, the agent goes on, under an epoch that was never used before.

A file that cannot be used is moved aside with its -wal, kept and counted, and a new one is begun. Only a newer
schema and a file that is not safely ours stop the start. The time it takes does not depend on the backlog.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from edge_agent.contract.rows import RowEncoder
from edge_agent.contract.ulid import new_ulid
from edge_agent.errors import Fatal, Retryable
from edge_agent.ports import Clock
from edge_agent.store import database
from edge_agent.store.database import MIN_QUOTA_BYTES, Damaged, Limits
from edge_agent.store.gaps import GapSet
from edge_agent.store.identity import (
    IDENTITY,
    Identity,
    make_folder,
    read_identity,
    sync_folder,
    write_identity,
)
from edge_agent.store.inspection import wal_of, why_not
from edge_agent.store.lock import DirectoryLock
from edge_agent.store.recovery import Note, recover
from edge_agent.store.writer import Writer
from edge_agent.types import Stamp

DATABASE, LOCK = "store.db", "store.lock"
_ASIDE = re.compile(rf"{re.escape(DATABASE)}\.[a-z]+-([0-9]{{1,9}})")

Entropy = Callable[[int], bytes]


def open_store(
    directory: Path,
    *,
    gateway: str,
    quota_bytes: int,
    clock: Clock,
    entropy: Entropy = secrets.token_bytes,
) -> Writer:
    """The store in this directory, a new epoch begun and the one before closed, both on the disk.

    Raises Fatal for what a person has to settle (newer schema, strange file, another agent, quota too small), and
    Retryable where the disk cannot be read or written now.
    """
    if quota_bytes < MIN_QUOTA_BYTES:
        raise Fatal(
            f"store.quota of {quota_bytes} bytes is too small", hint=f"give it at least {MIN_QUOTA_BYTES} bytes"
        )
    try:
        make_folder(directory)
        lock = DirectoryLock(directory / LOCK)
        try:
            return _Starter(directory, lock, gateway, Limits(quota_bytes), clock, entropy).start()
        except BaseException:
            lock.close()
            raise
    except OSError as error:
        raise Retryable(
            f"{directory}: the store cannot be opened: {error}",
            hint="check the volume: mounted, writable, not full, owned by the agent's user",
        ) from error


class _Starter:
    """One start: everything that the steps below share."""

    def __init__(
        self, directory: Path, lock: DirectoryLock, gateway: str, limits: Limits, clock: Clock, entropy: Entropy
    ) -> None:
        self._path = directory / DATABASE
        self._identity_path = directory / IDENTITY
        self._identity = read_identity(self._identity_path)
        self._lock = lock
        self._gateway = gateway
        self._limits = limits
        self._clock = clock
        self._entropy = entropy

    def start(self) -> Writer:
        found = why_not(self._path, self._identity)
        if not found:
            try:
                return self._start("")
            except Damaged:
                found = "corrupt"
        if found != "missing":
            _set_aside(self._path, found)
        else:
            _finish_setting_aside(self._path)
        self._create()
        return self._start(found)

    def _start(self, found: str) -> Writer:
        db = database.open_writer(self._path, self._limits)
        try:
            before = recover(db)
            now = self._clock.now()
            epoch = self._next_epoch(db, now)
            note = Note(epoch.no, epoch.id, before.newest, {}, before.cursors, before.settled)
            encoder = RowEncoder(self._gateway, epoch.id)
            writer = Writer(db, self._lock, self._limits, note=note, encoder=encoder, found=found)
            writer.begin_epoch(now.boot, now.wall_ns // 1_000_000)
            closed = before.epoch or (self._identity.epoch if self._identity else "")
            if closed:
                writer.close_epoch(closed, before.last, found)
            writer.commit([], GapSet())
        except BaseException:
            db.close()
            raise
        return writer

    def _next_epoch(self, db: database.Database, now: Stamp) -> _Epoch:
        """In the small file before the database: a start that is cut off in between costs a number."""
        in_database = db.one("SELECT max(no) FROM epoch") or 0
        known = max(in_database, self._identity.start_no if self._identity else 0)
        epoch = _Epoch(known + 1, new_ulid(now.wall_ns, self._entropy))
        store = bytes(db.one("SELECT value FROM meta WHERE key = 'store'")).decode()
        write_identity(self._identity_path, Identity(store, epoch.no, epoch.id))
        return epoch

    def _create(self) -> None:
        """Under another name first: a file of the real name is always whole."""
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        database.create(beside, {"store": self._entropy(8).hex().encode()})
        beside.replace(self._path)
        sync_folder(self._path.parent)


class _Epoch(NamedTuple):
    no: int
    id: str


def _set_aside(path: Path, why: str) -> None:
    """Database and -wal together, under a free name; the -shm is only an index of the -wal."""
    number = max((number for number, _ in _asides(path.parent)), default=0) + 1
    for found in (path, wal_of(path), path.with_name(path.name + "-journal")):
        if found.exists():
            found.rename(found.with_name(f"{found.name}.{why}-{number}"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    sync_folder(path.parent)


def _finish_setting_aside(path: Path) -> None:
    """A start was cut off when the database had its new name and its -wal had not: to the next database of this name
    SQLite would apply it."""
    left = [beside for beside in (wal_of(path), path.with_name(path.name + "-journal")) if beside.exists()]
    if not left:
        return
    newest = [aside.suffix for _, aside in sorted(_asides(path.parent))][-1:]
    for suffix in chain(newest, (f".stray-{number}" for number in count(1))):
        moved = {beside: beside.with_name(beside.name + suffix) for beside in left}
        if not any(name.exists() for name in moved.values()):
            break
    for beside, name in moved.items():
        beside.rename(name)
    sync_folder(path.parent)


def asides(directory: Path) -> list[Path]:
    """The databases that were moved aside, oldest first."""
    return [path for _, path in sorted(_asides(directory))]


def _asides(directory: Path) -> Iterator[tuple[int, Path]]:
    for path in directory.iterdir():
        if match := _ASIDE.fullmatch(path.name):
            yield int(match[1]), path
