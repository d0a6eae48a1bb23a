"""A source's thread: opens the driver, reads, hands readings to the inbox and frames to the lanes, backs off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.errors import EndOfInput, Rejected, Retryable
from edge_agent.health import PartHealth
from edge_agent.heat import Heat
from edge_agent.inbox import Feed
from edge_agent.ports import Acknowledged, Clock, Item, Source
from edge_agent.types import Event, Frame, HealthChange

READ_TIMEOUT_S = 0.25
_LEAST_FRAMES_NS = 1_000_000_000
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MOST_S = 5.0


class FrameTaker(Protocol):
    """A lane that takes the frames of this source. `waiting`: hold the source back instead of skipping."""

    def submit_frame(self, frame: Frame, *, waiting: bool) -> None: ...


class SourceBody:
    """ports.Body of one source; the driver's errors decide what happens next.

    `unpaced` sources (a replay as fast as possible) are held back when the inbox is full, never shed.
    """

    def __init__(
        self, name: str, *, opener: Callable[[], Source], feed: Feed, takers: Sequence[FrameTaker],
        clock: Clock, health: PartHealth, unpaced: bool, heat: Heat | None = None,
    ) -> None:  # fmt: skip
        self.name = f"source:{name}"
        self.progress_ns = 0
        self.ended = threading.Event()
        self.source: Source | None = None
        self._part = name
        self._opener = opener
        self._feed = feed
        self._takers = takers
        self._clock = clock
        self._health = health
        self._unpaced = unpaced
        self._heat = heat
        self._frames = 0
        self._passed_ns = 0
        self._stop = threading.Event()
        self._backoff_s = _BACKOFF_FIRST_S

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        try:
            while not self._stop.is_set():
                self.progress_ns = self._clock.mono_ns()
                try:
                    self._serve()
                except (Retryable, Rejected) as e:
                    self._down(str(e))
                    self._stop.wait(self._backoff_s)
                    self._backoff_s = min(self._backoff_s * 2, _BACKOFF_MOST_S)
                except EndOfInput as e:
                    self._down(str(e) or "end of input")
                    return
        finally:
            self._feed.finish(self._clock.now())
            self.ended.set()

    def ack(self, cursor: int) -> None:
        """Any thread: everything up to `cursor` is committed."""
        source = self.source
        if isinstance(source, Acknowledged):
            source.ack(cursor)

    def _serve(self) -> None:
        self.source = source = self._opener()
        self._health.count("opened")
        self._feed.expect(more=True)
        try:
            while not self._stop.is_set():
                items = source.read(READ_TIMEOUT_S)
                self.progress_ns = self._clock.mono_ns()
                if items:
                    self._hand_over(items)
                else:
                    self._feed.settle(self._clock.now())
        finally:
            self.source = None
            source.close()

    def _hand_over(self, items: Sequence[Item]) -> None:
        self._up()
        events = [item for item in items if not isinstance(item, Frame)]
        self._health.heard(len(items), self.progress_ns)
        if events:
            self._offer(events)
        if len(events) == len(items):
            return
        self._feed.expect(more=False)  # a camera: what its frames say comes from their lanes
        for item in items:
            if isinstance(item, Frame) and self._passes(item):
                for taker in self._takers:
                    taker.submit_frame(item, waiting=self._unpaced)

    def _passes(self, frame: Frame) -> bool:
        """Not all do on a box that is too hot; a replay is no load that it could do without."""
        self._frames += 1
        every = self._heat.one_in if self._heat and not self._unpaced else 1
        if self._frames % every and frame.stamp.mono_ns - self._passed_ns < _LEAST_FRAMES_NS:
            self._health.count("left_out_hot")
            return False
        self._passed_ns = frame.stamp.mono_ns
        return True

    def _offer(self, events: Sequence[Event]) -> None:
        if not self._unpaced:
            self._feed.offer(events)
            return
        while events and not self._stop.is_set():
            events = self._feed.offer_waiting(events, READ_TIMEOUT_S)
            self.progress_ns = self._clock.mono_ns()

    def _up(self) -> None:
        self._backoff_s = _BACKOFF_FIRST_S
        if self._health.up is not True:
            self._turn(True, "")

    def _down(self, reason: str) -> None:
        self._health.count("downs")
        self._turn(False, reason)
        self._feed.expect(more=False)

    def _turn(self, up: bool, reason: str) -> None:
        stamp = self._clock.now()
        if self._health.turn(up, stamp, reason):
            self._feed.offer([HealthChange(self._part, up, stamp, reason)])
