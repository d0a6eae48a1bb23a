"""The agent's time: looks at the clocks once a second, keeps what is known of each boot, and tells who must know.

The file `clock.json` has the newest time that was right, which no later time may undercut unless a time service says
so (the one of then may have been wrong), and by boot what the wall
clock is ahead of the monotonic one, so that rows of an earlier run or an earlier boot are dated when they are sent.
A boot whose clock was never right has no entry, and its rows stay undated: nothing is invented.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from edge_agent import RELEASED_S
from edge_agent.clock_watch import ClockWatch, Kernel, Look, Vouching
from edge_agent.store.identity import replace_file
from edge_agent.store.writer import TimeFix
from edge_agent.types import Stamp
from edge_agent.unreadable import UNREADABLE

log = logging.getLogger("edge_agent")

_SAVE_NS = 600_000_000_000
_BOOTS = 32
_TRIES = 5
_TIGHT_NS = 1_000_000
"""The two clocks of one look are read within this, or as near to it as some tries get."""
_STA_UNSYNC = 0x40

_LATEST_MS = 4_102_444_800_000
"""The year 2100."""
_libc = ctypes.CDLL(None)

Report = Callable[[bool, str], None]


def _untold(_up: bool, _why: str) -> None:
    pass


class WatchedClock(Protocol):
    boot: str

    def now(self) -> Stamp: ...
    def mono_ns(self) -> int: ...
    def trust(self, offset_ns: int | None) -> None: ...


class _Timex(ctypes.Structure):
    """The head of the kernel's struct timex; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("room", ctypes.c_char * 512),
    )  # fmt: skip


def ask_kernel() -> Kernel:
    """adjtimex(2), which only reads here: chrony (with `rtcsync`), ntpd and systemd-timesyncd report there."""
    timex = _Timex()
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        return Kernel(None)
    return Kernel(not timex.status & _STA_UNSYNC, timex.maxerror // 1000)


class _Boot(msgspec.Struct, frozen=True):
    boot: str
    offset_ms: Annotated[int, msgspec.Meta(ge=-_LATEST_MS, le=_LATEST_MS)]
    uncertainty_ms: Annotated[int, msgspec.Meta(ge=0, le=_LATEST_MS)]


class _Kept(msgspec.Struct, frozen=True):
    saved_ms: int = 0
    boots: tuple[_Boot, ...] = ()
    """Oldest first."""


class Timekeeper:
    """`turn` and `close` from the main thread, `keep` from the store's, which alone may wait for the disk."""

    def __init__(
        self, clock: WatchedClock, path: Path, vouching: Vouching, *,
        kernel: Callable[[], Kernel] = ask_kernel, released_s: int = RELEASED_S,
    ) -> None:  # fmt: skip
        kept = _read(path)
        self.floor_ms = max(released_s * 1000, kept.saved_ms)
        """An instant that has passed for certain: this version was built, or the box knew the time."""
        self._clock = clock
        self._path = path
        self._vouching = vouching
        self._kernel = kernel
        self._boots = {b.boot: b for b in kept.boots}
        known = self._boots.get(clock.boot) if vouching == "rtc" else None
        lead_ns = None if known is None else known.offset_ms * 1_000_000
        self._released_ms = released_s * 1000
        self._watch = ClockWatch(
            vouching, self.floor_ms * 1_000_000, lead_ns, released_ns=self._released_ms * 1_000_000
        )
        self._saved_ms = kept.saved_ms
        self._vouched = False
        self._save_due_ns = 0
        self._unsaved: _Kept | None = None
        self._unkept = False
        self._steps = 0
        self._last_step = ""
        before = [b for b in kept.boots if b.boot != clock.boot]
        self._to_declare = [_fix(before[-1])] if before else []
        """What the boot before knew is said again: a power cut may have taken it."""
        self._why = ""
        self._alarmed = False
        self._look()

    def offset_ms(self, boot: str) -> int | None:
        """UTC less monotonic time of that boot; None where it was never known."""
        known = self._boots.get(boot)
        return None if known is None else known.offset_ms

    def utc_ms(self, now: Stamp) -> int | None:
        """The time of day, by the monotonic clock where the wall clock is not right; None where nobody knows."""
        known_ms, wall_ms = self.known_ms(now), now.wall_ns // 1_000_000
        return wall_ms if known_ms is None and wall_ms >= self.floor_ms else known_ms

    def known_ms(self, now: Stamp) -> int | None:
        """The same without a guess."""
        offset_ms = None if now.quality else self.offset_ms(now.boot)
        if offset_ms is not None:
            return now.mono_ns // 1_000_000 + offset_ms
        return now.wall_ns // 1_000_000 if now.quality else None

    def turn(self, declare: Callable[[Sequence[TimeFix]], None], report: Report) -> None:
        """One look at the clocks: new time fixes go to `declare`, steps of a clock that was right to `report`."""
        look = self._look()
        if self._to_declare:
            declare(self._to_declare)
            self._to_declare = []
        if look.stepped_ns:
            self._note_step(look)
        if self._alarmed and look.synced:
            self._alarmed = False
            report(True, "")
        elif look.stepped_ns and (look.trusted_before or self._alarmed):
            self._alarmed = True
            report(False, f"{self._last_step}; {self._what_now(look)}")

    def keep(self, report: Report = _untold) -> None:
        """Writes down what is new. A disk that refuses is told to `report`, and asked again: meanwhile rows may stay
        undated, not wrong."""
        kept = self._unsaved
        if kept is None:
            return
        try:
            replace_file(self._path, msgspec.json.encode(kept))
        except OSError as e:
            self._unkept = True
            report(
                False, f"{self._path} cannot be written ({e.strerror}): check the volume: room, mount, permissions"
            )
            return
        if self._unsaved is kept:
            self._unsaved = None
        if self._unkept:
            self._unkept = False
            report(True, "")

    def close(self) -> None:
        """The next start must not be earlier than this."""
        if self._watch.synced:
            self._note()
            self.keep()

    def to_dict(self) -> dict[str, Any]:
        """For status."""
        known = self._boots.get(self._clock.boot)
        return {
            "synced": self._watch.synced,
            "why_not": self._why,
            "vouched_by": self._vouching,
            "boot": self._clock.boot,
            "offset_ms": None if known is None else known.offset_ms,
            "uncertainty_ms": None if known is None else known.uncertainty_ms,
            "steps": self._steps,
            "last_step": self._last_step,
        }

    def _look(self) -> Look:
        mono_ns, wall_ns = _pair(self._clock)
        kernel = self._kernel()
        look = self._watch.look(mono_ns, wall_ns, kernel)
        self._vouched = self._watch.vouched(kernel)
        self._why = look.why
        self._clock.trust(self._watch.lead_ns if look.synced else None)
        if look.lead_ns is not None:
            self._learn(_Boot(self._clock.boot, round(look.lead_ns / 1e6), look.uncertainty_ms))
        if look.synced and mono_ns >= self._save_due_ns:
            self._note()
        return look

    def _learn(self, boot: _Boot) -> None:
        self._boots.pop(boot.boot, None)
        self._boots[boot.boot] = boot
        self._to_declare.append(_fix(boot))
        self._save_due_ns = 0

    def _note(self) -> None:
        now = self._clock.now()
        self._save_due_ns = now.mono_ns + _SAVE_NS
        wall_ms = now.wall_ns // 1_000_000
        self._saved_ms = wall_ms if self._vouched else max(self._saved_ms, wall_ms)
        self.floor_ms = max(self._released_ms, min(self.floor_ms, self._saved_ms))
        self._unsaved = _Kept(self._saved_ms, tuple(self._boots.values())[-_BOOTS:])

    def _note_step(self, look: Look) -> None:
        self._steps += 1
        way = "back" if look.stepped_ns < 0 else "forward"
        self._last_step = f"the wall clock was set {way} by {_span(abs(look.stepped_ns))}"
        log.info("%s: %s", self._last_step, self._why or "it is right now")

    def _what_now(self, look: Look) -> str:
        if look.synced:
            return "its time service vouches for it, so it counts"
        then = "timedatectl" if self._vouching == "ntp" else "set it right, or reboot to accept it"
        return f"it is not believed, times are derived from the monotonic clock: {then}"


def _fix(boot: _Boot) -> TimeFix:
    return TimeFix(boot.boot, boot.offset_ms, boot.uncertainty_ms)


def _pair(clock: WatchedClock) -> tuple[int, int]:
    """Monotonic and wall time of one instant, as nearly as a busy machine allows."""
    best = (1 << 63, 0, 0)
    for _ in range(_TRIES):
        stamp = clock.now()
        spread_ns = clock.mono_ns() - stamp.mono_ns
        best = min(best, (spread_ns, stamp.mono_ns, stamp.wall_ns))
        if spread_ns <= _TIGHT_NS:
            break
    return best[1], best[2]


def _span(ns: int) -> str:
    seconds = ns / 1e9
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _read(path: Path) -> _Kept:
    """Nothing where there is no file, or none that can be read."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return _Kept()
    except (OSError, *UNREADABLE) as e:
        log.warning("%s cannot be read (%s): rows of earlier boots may stay undated", path, e)
        return _Kept()
    if kept.saved_ms > _LATEST_MS:
        log.warning("%s names a time of the far future: it does not count", path)
        return _Kept()
    return kept
