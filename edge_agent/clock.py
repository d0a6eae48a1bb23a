"""Where time comes from: the system's clocks, or a clock that a test or a drill turns by hand."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from edge_agent.types import ClockQuality, Stamp

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """The kernel's boot id, 8 hex digits; a random one where the kernel has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").replace("-", "")[:8]
    except OSError:
        return secrets.token_hex(4)


class SystemClock:
    """CLOCK_MONOTONIC and the wall clock of this boot.

    `quality` is SYNCED unless the wall clock is before `floor_ns` (the newest instant that is known to have
    passed: build time or last saved time) or the kernel says that it is not synchronised.
    """

    def __init__(self, *, floor_ns: int = 0) -> None:
        self.boot = read_boot_id()
        self.floor_ns = floor_ns

    def now(self) -> Stamp:
        wall = time.time_ns()
        quality = ClockQuality.SYNCED if wall >= self.floor_ns else ClockQuality.GUESSED
        return Stamp(time.monotonic_ns(), wall, quality, self.boot)

    def mono_ns(self) -> int:
        return time.monotonic_ns()


class FakeClock:
    """A clock that moves only when told to; the same contract as `SystemClock`."""

    def __init__(self, *, mono_ns: int = 0, wall_ns: int = 1_767_225_600_000_000_000, boot: str = "fakeboot") -> None:
        self.boot = boot
        self.quality = ClockQuality.SYNCED
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns

    def now(self) -> Stamp:
        return Stamp(self._mono_ns, self._wall_ns, self.quality, self.boot)

    def mono_ns(self) -> int:
        return self._mono_ns

    def advance(self, seconds: float) -> None:
        step = round(seconds * 1e9)
        self._mono_ns += step
        self._wall_ns += step

    def step_wall(self, seconds: float) -> None:
        """Wall time jumps, monotonic time does not: NTP, or a person with a watch."""
        self._wall_ns += round(seconds * 1e9)
