"""Who has a device open, or a file locked: what a technician needs to know when it is busy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


def holders(device: str) -> list[str]:
    """`minicom (pid 812)` for each process seen to have `device` open; other users' processes cannot be seen."""
    path = os.path.realpath(device)
    return [_describe(process) for process in Path("/proc").glob("[0-9]*") if _has_open(process, path)]


class Lock(NamedTuple):
    """A POSIX lock; `kind` is READ or WRITE, `first` the first byte of the file that it covers."""

    kind: str
    pid: int
    device: int
    inode: int
    first: int


def lock_holders(file: Path, counts: Callable[[Lock], bool]) -> list[str]:
    """`sqlite3 (pid 812)` for each other process with a lock on the file that counts; empty where the system does
    not tell.

    Another volume has the same inodes, and btrfs and overlays have a device of their own making: who is on another
    device has to be seen to have the file open.
    """
    try:
        found = file.stat()
    except OSError:
        return []
    path = os.path.realpath(file)
    same = [lock for lock in _locks() if lock.inode == found.st_ino and counts(lock)]
    pids = dict.fromkeys(
        lock.pid for lock in same if lock.device == found.st_dev or _has_open(Path(f"/proc/{lock.pid}"), path)
    )
    return [_describe(Path(f"/proc/{pid}")) for pid in pids if pid != os.getpid()]


def _locks() -> Iterator[Lock]:
    """Lines such as `1: POSIX  ADVISORY  WRITE 812 08:01:4711 1073741826 1073742335`; one who waits has an arrow."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            match line.split():
                case [_, "POSIX", _, kind, pid, place, first, _]:
                    major, minor, inode = place.split(":")
                    yield Lock(kind, int(pid), os.makedev(int(major, 16), int(minor, 16)), int(inode), int(first))


def _has_open(process: Path, path: str) -> bool:
    # a process may end, or belong to somebody else, at any step
    with suppress(OSError):
        for fd in (process / "fd").iterdir():
            with suppress(OSError):
                if str(fd.readlink()) == path:
                    return True
    return False


def _describe(process: Path) -> str:
    if int(process.name) == os.getpid():
        return "this agent itself, under another name"
    name = "a process"
    with suppress(OSError, UnicodeDecodeError):
        name = (process / "comm").read_text(encoding="utf-8").strip()
    return f"{name!a} (pid {process.name})"
