"""Databases that were moved aside: kept under a name that says why, counted, and bounded in number and bytes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from edge_agent.store.identity import sync_folder

DATABASE = "store.db"
KEPT = 4
"""Databases; the newest are the ones that a person asks about."""
_ASIDE = re.compile(rf"{re.escape(DATABASE)}\.[a-z]+-([0-9]{{1,9}})")
_BESIDE = ("-wal", "-journal")


def asides(directory: Path) -> list[Path]:
    """The databases that were moved aside, oldest first."""
    return [path for _, path in sorted(_asides(directory))]


def aside_wal(aside: Path) -> Path:
    """The -wal that was moved with it."""
    return aside.with_name(aside.name.replace(DATABASE, f"{DATABASE}-wal", 1))


def next_aside(directory: Path, why: str) -> str:
    number = max((number for number, _ in _asides(directory)), default=0) + 1
    return f"{DATABASE}.{why}-{number}"


def set_aside(path: Path, name: str) -> None:
    """Database and -wal together; the -shm is only an index of the -wal."""
    path.rename(path.with_name(name))
    for found in _left_of(path):
        found.rename(found.with_name(found.name + name.removeprefix(DATABASE)))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    sync_folder(path.parent)


def finish_setting_aside(path: Path) -> None:
    """A start was cut off when the database had its new name and its -wal had not: to the next database of this name
    SQLite would apply it."""
    left = _left_of(path)
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


def _left_of(path: Path) -> list[Path]:
    return [found for end in _BESIDE if (found := path.with_name(path.name + end)).exists()]


def bound_asides(directory: Path, quota_bytes: int, *, needed: Collection[str]) -> int:
    """Deletes the oldest beyond `KEPT` or the quota, those that nobody waits for first. Returns how many went."""
    kept = asides(directory)
    order = [path for path in kept if path.name not in needed] + [path for path in kept if path.name in needed]
    went = 0
    while len(order) > KEPT or (len(order) > 1 and sum(map(_bytes, order)) > quota_bytes):
        _delete(order.pop(0))
        went += 1
    return went


def delete_asides(directory: Path, *, but: Collection[str]) -> None:
    """Where the volume is full: what was kept for a person only."""
    for path in asides(directory):
        if path.name not in but:
            _delete(path)


def _asides(directory: Path) -> Iterator[tuple[int, Path]]:
    for path in directory.iterdir():
        if match := _ASIDE.fullmatch(path.name):
            yield int(match[1]), path


def _files(aside: Path) -> list[Path]:
    why = aside.name.removeprefix(DATABASE)
    return [aside, *(aside.with_name(f"{DATABASE}{beside}{why}") for beside in _BESIDE)]


def _bytes(aside: Path) -> int:
    return sum(path.stat().st_size for path in _files(aside) if path.exists())


def _delete(aside: Path) -> None:
    for path in reversed(_files(aside)):
        with suppress(OSError):
            path.unlink(missing_ok=True)
