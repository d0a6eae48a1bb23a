"""What the agent, and the device that holds its data, have written, and how long a card would last at that."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from edge_agent.ports import Clock

_DAY_S = 86_400
_YEAR_DAYS = 365.25
_SECTOR_BYTES = 512
"""Of /proc/diskstats, whatever the device's own are (Documentation/admin-guide/iostats.rst)."""
_STEP_NS = 600 * 10**9
_STEPS = 145
"""A day."""
_FIRST_RATE_S = 60.0


class _Look(NamedTuple):
    mono_ns: int
    process: int | None
    device: int | None


class FlashMeter:
    """Counts from its making on; a rate is over the last day at most. Any thread may ask."""

    def __init__(
        self, folder: Path, clock: Clock, *, card_tbw: float | None = None, proc: Path = Path("/proc")
    ) -> None:
        """`folder` exists. `card_tbw`: terabytes (10^12 bytes) that the card is made for, None where nobody says."""
        self._clock = clock
        self._card_tbw = card_tbw
        self._io = proc / "self" / "io"
        self._diskstats = proc / "diskstats"
        self._number = _number_of(folder)
        self._device = ""
        self._lock = Lock()
        self._first = self._look()
        self._looks: deque[_Look] = deque([self._first], maxlen=_STEPS)

    def to_dict(self) -> dict[str, Any]:
        """Bytes since the start and a day, of this process and of the device; None what the system does not tell,
        `why_not` in words. `device_*` has everything that is written there: the file system's journal, other
        programs. `years` are what `card_tbw`, or 1 where nobody says, would last; None in the first minute."""
        with self._lock:
            now = self._look()
            if now.mono_ns - self._looks[-1].mono_ns >= _STEP_NS:
                self._looks.append(now)
            since = self._looks[0]
            process_a_day = _a_day(since.mono_ns, now.mono_ns, since.process, now.process)
            device_a_day = _a_day(since.mono_ns, now.mono_ns, since.device, now.device)
            return {
                "device": self._device,
                "process_bytes": _difference(self._first.process, now.process),
                "device_bytes": _difference(self._first.device, now.device),
                "process_bytes_per_day": process_a_day,
                "device_bytes_per_day": device_a_day,
                "card_tbw": self._card_tbw,
                "years": _years(self._card_tbw or 1.0, process_a_day if device_a_day is None else device_a_day),
                "why_not": self._why_not(now),
            }

    def _look(self) -> _Look:
        self._device, device = _device_bytes(self._diskstats, self._number)
        return _Look(self._clock.mono_ns(), _process_bytes(self._io), device)

    def _why_not(self, now: _Look) -> str:
        unknown = [] if now.process is not None else [f"{self._io} cannot be read"]
        if now.device is None:
            major, minor = self._number
            kind = "no block device (tmpfs, overlay, network)" if major == 0 else f"device {major}:{minor}"
            unknown.append(f"{self._diskstats} does not tell of {kind}")
        return "; ".join(unknown)


def _number_of(folder: Path) -> tuple[int, int]:
    device = folder.stat().st_dev
    return os.major(device), os.minor(device)


def _process_bytes(path: Path) -> int | None:
    """What this process had to be written to storage: pages, not yet the file system's journal."""
    try:
        fields = dict(line.split(":") for line in path.read_text(encoding="ascii").splitlines())
        return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])
    except (OSError, KeyError, ValueError):
        return None


def _device_bytes(path: Path, number: tuple[int, int]) -> tuple[str, int | None]:
    """Name of the device and what was written to it since the boot; the rest of the line is not of interest."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            fields = line.split()
            if (int(fields[0]), int(fields[1])) == number:
                return fields[2], int(fields[9]) * _SECTOR_BYTES
    except (OSError, IndexError, ValueError):
        pass
    return "", None


def _difference(first: int | None, now: int | None) -> int | None:
    return None if first is None or now is None else max(now - first, 0)


def _a_day(first_ns: int, now_ns: int, first: int | None, now: int | None) -> int | None:
    seconds, written = (now_ns - first_ns) / 1e9, _difference(first, now)
    return None if written is None or seconds < _FIRST_RATE_S else round(written / seconds * _DAY_S)


def _years(tbw: float, bytes_a_day: int | None) -> float | None:
    return round(tbw * 1e12 / bytes_a_day / _YEAR_DAYS, 1) if bytes_a_day else None
