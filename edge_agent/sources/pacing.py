"""When the readings of a source that invents or repeats its input are due: in real time, N times, or at once."""

from __future__ import annotations

import threading
from typing import Annotated, Literal

from msgspec import Meta

from edge_agent.ports import Clock
from edge_agent.types import Stamp

Speed = Literal["max"] | Annotated[float, Meta(ge=1, le=1e6)]
"""`1` is real time, `10` ten times as fast, `"max"` as fast as the agent takes it."""


class Pace:
    """Event time, in ns since the start, against the clock. Event time runs ahead of the clock above speed 1."""

    def __init__(self, clock: Clock, speed: Speed) -> None:
        self.start = clock.now()
        self._clock = clock
        self._speed = None if speed == "max" else float(speed)
        self._closed = threading.Event()

    @property
    def unpaced(self) -> bool:
        return self._speed is None

    def reached(self, event_ns: int) -> bool:
        """Whether a reading of that event time is due."""
        if self._speed is None:
            return True
        return (self._clock.mono_ns() - self.start.mono_ns) * self._speed >= event_ns

    def wait(self, event_ns: int, timeout_s: float) -> None:
        """Until it is due, at most `timeout_s`; `close` ends the wait."""
        if self._speed is not None:
            due_ns = self.start.mono_ns + event_ns / self._speed
            self._closed.wait(min(timeout_s, max(0.0, (due_ns - self._clock.mono_ns()) / 1e9)))

    def stamp(self, event_ns: int) -> Stamp:
        """The instant of that event time; in real time by what the clock says now, as it may have been set since."""
        if self._speed != 1.0:
            return Stamp(
                self.start.mono_ns + event_ns, self.start.wall_ns + event_ns, self.start.quality, self.start.boot
            )
        now = self._clock.now()
        due_ns = self.start.mono_ns + event_ns
        return Stamp(due_ns, now.wall_ns - (now.mono_ns - due_ns), now.quality, now.boot)

    def close(self) -> None:
        self._closed.set()
