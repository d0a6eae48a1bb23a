"""The database, rewritten without its free pages, so that the volume has them back.

Only with the directory's lock held: the running agent is the one owner of the file and its checkpoints, and a
rewrite would keep its commits waiting for as long as it takes. Pages that stay free cost nothing beside the agent,
which fills them again before the file grows.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edge_agent.errors import ExitCode, Fatal
from edge_agent.store import database
from edge_agent.store.checking import check_store
from edge_agent.store.database import PAGE_BYTES, Full, Limits
from edge_agent.store.identity import sync_folder
from edge_agent.store.inspection import bytes_of, wal_of
from edge_agent.store.lock import DirectoryLock
from edge_agent.store.opening import LOCK
from edge_agent.store.reader import opened

_ROOM_BYTES = 1024 * 1024
"""Left on the volume beside the copy."""


class Compacted(msgspec.Struct, frozen=True):
    """Bytes of database and -wal."""

    before_bytes: int
    after_bytes: int


def compact(path: Path) -> Compacted:
    """The same rows in a smaller file, under the same name: the old file or the new one, whenever it is cut off.

    Raises Fatal beside a running agent, for a user who is not the owner, and for a store that is damaged, which is
    left as it is for the agent's own start; Full where the copy has no room; Retryable where there is no store.
    """
    with opened(path):
        pass
    owner = path.stat()
    _refuse_others(path, owner.st_uid)
    lock = _lock(path.parent / LOCK)
    try:
        _refuse_damaged(path)
        return _rewritten(path, owner)
    finally:
        lock.close()


def _rewritten(path: Path, owner: os.stat_result) -> Compacted:
    before_bytes = bytes_of(path) + bytes_of(wal_of(path))
    beside = path.with_name(path.name + ".compact")
    beside.unlink(missing_ok=True)  # what a power cut left
    try:
        _copy(path, beside)
        os.chown(beside, owner.st_uid, owner.st_gid)
        beside.chmod(owner.st_mode & 0o777)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        _refuse_damaged(beside)
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        for left in (beside, wal_of(beside), beside.with_name(beside.name + "-shm")):
            left.unlink(missing_ok=True)
    return Compacted(before_bytes, bytes_of(path) + bytes_of(wal_of(path)))


def _copy(path: Path, beside: Path) -> None:
    """Everything in the -wal is in the file afterwards, and the -wal is gone: it must not meet the new file."""
    source = database.open_writer(path, Limits(2 * bytes_of(path) + database.MIN_QUOTA_BYTES))
    try:
        needed_bytes = source.used_pages() * PAGE_BYTES
        free = os.statvfs(path.parent)
        if free.f_bavail * free.f_frsize < needed_bytes + _ROOM_BYTES:
            raise Full(
                f"{path.parent}: the copy needs {needed_bytes:,} bytes", hint="make room on the volume, then again"
            )
        source.query("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("VACUUM INTO ?", (str(beside),))
    finally:
        source.close()
    if bytes_of(wal_of(path)):
        raise Fatal(f"{wal_of(path)} is still in use", hint="end the program that reads the store, then again")
    copy = database.open_writer(beside, Limits(2 * bytes_of(beside) + database.MIN_QUOTA_BYTES))
    copy.close()


def _refuse_damaged(path: Path) -> None:
    checked = check_store(path)
    if not checked.ok:
        found = ", ".join(f"{n} {what}" for what, n in checked.counts.items())
        raise Fatal(
            f"{path} is not in order ({found}), so it is left as it is",
            hint=f"edge-agent store check --file {path}",
        )


def _refuse_others(path: Path, owner: int) -> None:
    if os.geteuid() not in (0, owner):
        raise Fatal(f"{path} belongs to user {owner}", hint="sudo edge-agent store compact ...")


def _lock(path: Path) -> DirectoryLock:
    try:
        return DirectoryLock(path)
    except Fatal as error:
        raise Fatal(
            error.message,
            hint="it fills free pages again before the file grows; to have them back: systemctl stop edge-agent,"
            " compact, start",
            exit_code=ExitCode.FAILURE,
        ) from error
