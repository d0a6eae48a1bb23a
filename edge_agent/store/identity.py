"""The small file beside the database: whose store this is and how often it was started.

The start counter and the store's id stand in two places, so that a database that was lost, replaced or mixed up
with another one's -wal is noticed, and no epoch is ever taken for another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from edge_agent.errors import Retryable
from edge_agent.unreadable import UNREADABLE

IDENTITY = "store.id"
MOST_STARTS = 2**53 - 1
"""More than any box lives to see; a number beyond is damage, and one that JSON's readers round."""
StartNo = Annotated[int, msgspec.Meta(ge=0, le=MOST_STARTS)]


class Job(msgspec.Struct, frozen=True):
    """A database that was moved aside as `name`, whose rows are to be taken over.

    `store` is its id as far as it is known, `closed` the epoch that ended with it. Where it was given up by a
    running agent, whose `epoch` goes on, `last` has the numbers that were committed in it, by stream, and `settled`
    what was delivered.
    """

    name: str
    store: str = ""
    closed: str = ""
    epoch: str = ""
    last: dict[str, int] = {}
    settled: tuple[tuple[tuple[int, int], ...], ...] = ()


class Identity(msgspec.Struct, frozen=True):
    """`damaged` is why the database is not to be opened again, empty while it is; `jobs` come oldest first."""

    store: str
    start_no: StartNo
    epoch: str
    damaged: str = ""
    jobs: tuple[Job, ...] = ()


def read_identity(path: Path) -> Identity | None:
    """None where there is no file, or nothing readable in it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except (FileNotFoundError, *UNREADABLE):
        return None
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror}", hint="check who owns the data directory") from error


def write_identity(path: Path, identity: Identity) -> None:
    """On the disk when it returns: written beside, synced, renamed, and the folder synced."""
    try:
        replace_file(path, msgspec.json.encode(identity))
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror}", hint="check the volume: room, mount, permissions") from error


def replace_file(path: Path, content: bytes) -> None:
    """The old content or the new, whole, whenever the power goes."""
    beside = path.with_name(path.name + ".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
    with os.fdopen(handle, "wb") as file:  # which goes on after a short write, as a disk that fills up makes it
        file.write(content)
        file.flush()
        os.fsync(handle)
    beside.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """There when it returns, also after a power cut: a name is durable when the folder it is in is synced."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
