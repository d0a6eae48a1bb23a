"""Where time comes from: the system's clocks, or a clock that a test or a drill turns by hand."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from edge_agent.types import ClockQuality, Stamp

TOLERANCE_NS = 50_000_000
"""The two clocks are read one after the other, and a thread may wait in between. Both run at one rate: what they
differ by changes only when the wall clock is set."""
_FOREVER_NS = 1 << 63
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """The kernel's boot id, 8 hex digits; a random one where the kernel has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").replace("-", "")[:8]
    except OSError:
        return secrets.token_hex(4)


class SystemClock:
    """CLOCK_MONOTONIC and the wall clock of this boot.

    A stamp is SYNCED while wall time less monotonic time is what `trust` was told, within `TOLERANCE_NS`: a step is
    seen in the first stamp after it, not when somebody looks. Until the first `trust` every stamp is SYNCED.
    """

    def __init__(self) -> None:
        self.boot = read_boot_id()
        self._trusted = (-_FOREVER_NS, _FOREVER_NS)

    def now(self) -> Stamp:
        mono = time.monotonic_ns()
        wall = time.time_ns()
        lowest, highest = self._trusted
        quality = ClockQuality.SYNCED if lowest <= wall - mono <= highest else ClockQuality.GUESSED
        return Stamp(mono, wall, quality, self.boot)

    def trust(self, offset_ns: int | None) -> None:
        """What the wall clock is ahead of the monotonic one while it is right; None: it is not known to be right."""
        self._trusted = (0, -1) if offset_ns is None else (offset_ns - TOLERANCE_NS, offset_ns + TOLERANCE_NS)

    def mono_ns(self) -> int:
        return time.monotonic_ns()


class FakeClock:
    """A clock that moves only when told to; the same contract as `SystemClock`."""

    def __init__(self, *, mono_ns: int = 0, wall_ns: int = 1_767_225_600_000_000_000, boot: str = "fakeboot") -> None:
        self.boot = boot
        self.quality: ClockQuality | None = ClockQuality.SYNCED
        """None: as `trust` was told."""
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._offset_ns: int | None = None

    def now(self) -> Stamp:
        quality = self.quality
        if quality is None:
            off_ns = None if self._offset_ns is None else self._wall_ns - self._mono_ns - self._offset_ns
            right = off_ns is not None and abs(off_ns) <= TOLERANCE_NS
            quality = ClockQuality.SYNCED if right else ClockQuality.GUESSED
        return Stamp(self._mono_ns, self._wall_ns, quality, self.boot)

    def trust(self, offset_ns: int | None) -> None:
        self._offset_ns = offset_ns
        self.quality = None

    def mono_ns(self) -> int:
        return self._mono_ns

    def advance(self, seconds: float) -> None:
        step = round(seconds * 1e9)
        self._mono_ns += step
        self._wall_ns += step

    def step_wall(self, seconds: float) -> None:
        """Wall time jumps, monotonic time does not: NTP, or a person with a watch."""
        self._wall_ns += round(seconds * 1e9)
