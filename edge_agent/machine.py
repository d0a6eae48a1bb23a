"""What the box says of itself: its disk, its temperature, its load, this process's memory. Cheap; asked twice a
minute."""

from __future__ import annotations

import os
from pathlib import Path

_THERMAL = Path("/sys/class/thermal")
_STATM = Path("/proc/self/statm")


def disk_bytes(folder: Path) -> tuple[int, int] | None:
    """Size of the folder's volume and what this user may still fill; None where it does not answer."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def temperature_c(zones: Path = _THERMAL) -> float | None:
    """Of the hottest zone; None where the kernel names none, as in most virtual machines."""
    found = [celsius for zone in zones.glob("thermal_zone*/temp") if (celsius := _celsius(zone)) is not None]
    return max(found, default=None)


def load_1m() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def rss_bytes() -> int | None:
    """Resident memory of this process."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _celsius(zone: Path) -> float | None:
    """A zone that is switched off, or that answers nonsense, counts as none."""
    try:
        celsius = int(zone.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None
    return celsius if -60 < celsius < 200 else None
