"""Room on the volume that belongs to the store: given up when the volume is full, so that the store can still make
room in its own file, and taken again when there is plenty."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from edge_agent.store.identity import replace_file

RESERVE = "store.reserve"
RESERVE_BYTES = 128 * 1024
_PLENTY = 8
"""Times the reserve that has to be free before it is taken again."""


def take_reserve(directory: Path) -> None:
    """Random bytes, since zeros may take no room. Nothing where it is there already or the volume is short."""
    path = directory / RESERVE
    with suppress(OSError):
        volume = os.statvfs(directory)
        if not path.exists() and volume.f_bavail * volume.f_frsize > _PLENTY * RESERVE_BYTES:
            replace_file(path, secrets.token_bytes(RESERVE_BYTES))


def give_reserve(directory: Path) -> None:
    """Makes its room free; nothing where it is gone already."""
    with suppress(OSError):
        (directory / f"{RESERVE}.new").unlink(missing_ok=True)
        (directory / RESERVE).unlink(missing_ok=True)


def quota_on(directory: Path, quota_bytes: int, least_bytes: int) -> int:
    """The quota, held under the size of the volume with an eighth to spare: a store alone must never fill it.

    What others keep there does not count: a volume that is full for an hour must cost no backlog.
    """
    there = next((folder for folder in (directory, *directory.parents) if folder.is_dir()), None)
    try:
        volume = os.statvfs(there or "/")
    except OSError:
        return quota_bytes
    return max(min(quota_bytes, volume.f_blocks * volume.f_frsize * 7 // 8 - RESERVE_BYTES), least_bytes)
