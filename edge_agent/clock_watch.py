"""Decides whether the wall clock counts, and notices when it is set. Pure: what clocks and kernel say comes in.

Both clocks run at one rate, so what the wall clock is ahead of the monotonic one changes only when somebody sets it.
That lead, once it was right, stays right for the whole boot: whatever is set later, an instant of the monotonic clock
can be dated with it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edge_agent.clock import TOLERANCE_NS

Vouching = Literal["ntp", "rtc"]
"""Who says that the wall clock is right: the kernel, which knows whether a time service sets it; or nobody, and the
box's own clock is believed until it is set between two starts of the box."""

_NO_SERVICE = 'no time service sets it; start one (timedatectl), or say [agent] clock = "rtc"'
_PASSED = "it shows a time that has passed already"
_UNBUILT = f"{_PASSED}, before this version was built: set it right"
_EARLIER = f"{_PASSED}: set it right, or if it is right, delete clock.json in the data_dir and restart the agent"
_RTC_UNCERTAINTY_MS = 1000
_MOST_UNCERTAINTY_MS = 60_000


class Kernel(msgspec.Struct, frozen=True):
    """What adjtimex says: `synced` None where it may not be asked."""

    synced: bool | None
    error_ms: int = 0


class Look(msgspec.Struct, frozen=True):
    """What one look found. `lead_ns` is set where it is new: the lead that is right from now on for this boot."""

    synced: bool
    why: str = ""
    """Why it is not."""
    lead_ns: int | None = None
    uncertainty_ms: int = 0
    stepped_ns: int = 0
    """By how much the wall clock was set since the look before."""
    trusted_before: bool = False


class ClockWatch:
    """`look` once a second. `floor_ns`: an instant that had passed when the box knew the time (UTC), which a time
    service may correct, since the one of then may have been wrong; `released_ns`: one that has passed for certain;
    `lead_ns`: what an earlier run of this boot knew, where nobody but it can say what is right."""

    def __init__(
        self, vouching: Vouching, floor_ns: int, lead_ns: int | None = None, *, released_ns: int = 0
    ) -> None:
        self.floor_ns = floor_ns
        self._released_ns = released_ns
        self.lead_ns = lead_ns
        """The newest that was right; None while the time of this boot was never known to this run."""
        self.synced = False
        self._vouching = vouching
        self._seen_ns: int | None = None

    def look(self, mono_ns: int, wall_ns: int, kernel: Kernel) -> Look:
        lead_ns = wall_ns - mono_ns
        stepped_ns = 0 if self._seen_ns is None else lead_ns - self._seen_ns
        if abs(stepped_ns) <= TOLERANCE_NS:
            stepped_ns = 0
        if stepped_ns or self._seen_ns is None:
            self._seen_ns = lead_ns
        before, why = self.synced, self._why_not(lead_ns, wall_ns, kernel)
        self.synced = not why
        if why or not self._is_new(lead_ns):
            return Look(self.synced, why, stepped_ns=stepped_ns, trusted_before=before)
        self.lead_ns = self._seen_ns = lead_ns
        return Look(True, "", lead_ns, self._uncertainty_ms(kernel), stepped_ns, before)

    def vouched(self, kernel: Kernel) -> bool:
        """A time service says that it is right now."""
        return self._vouching == "ntp" and kernel.synced is True

    def _is_new(self, lead_ns: int) -> bool:
        return self.lead_ns is None or abs(lead_ns - self.lead_ns) > TOLERANCE_NS

    def _why_not(self, lead_ns: int, wall_ns: int, kernel: Kernel) -> str:
        if wall_ns < self._released_ns:
            return _UNBUILT
        if wall_ns < self.floor_ns and not self.vouched(kernel):
            return _EARLIER
        if self._vouching == "ntp":
            # where the kernel may not be asked, the floor is all there is
            return _NO_SERVICE if kernel.synced is False else ""
        if self.lead_ns is not None and self._is_new(lead_ns):
            return "it was set since the start of the box"
        return ""

    def _uncertainty_ms(self, kernel: Kernel) -> int:
        if self._vouching == "rtc" or kernel.synced is None:
            return _RTC_UNCERTAINTY_MS
        return min(max(kernel.error_ms, 1), _MOST_UNCERTAINTY_MS)
