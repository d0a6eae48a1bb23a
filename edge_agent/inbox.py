"""The engine's bounded inbox: one feed per producer, served in turn, so that a flood delays and sheds only itself.

A feed is served at most `SLICE` events before the next feed has its turn. What does not fit is counted per
stream and handed over as `Lost` before the next events of that feed: loss is declared in its place.

Feeds of a replay as fast as possible are no neighbours but one recording: they are served in the order of event time,
whatever the speed of their producers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Condition

from edge_agent.types import Event, Lost, Reading, Stamp

SLICE = 64
"""Events per turn: about half a millisecond of engine time."""


class Feed:
    """The part of the inbox that one producer fills. One thread offers, the engine takes."""

    def __init__(
        self, inbox: Inbox, name: str, *, limit: int, rate_hz: int | None, recording: Recording | None = None
    ) -> None:  # fmt: skip
        self.name = name
        self.queue: deque[Event] = deque()
        self.expected = True
        """Of a recording: the others wait for the next event of this feed."""
        self._inbox = inbox
        self._recording = recording
        self._limit = limit
        self._rate_hz = rate_hz
        self._burst = float(max(rate_hz or 0, 1))
        self._allowance = self._burst
        self._refilled_ns = 0
        self._shed: dict[str, int] = {}
        self._scheduled = False
        self._condition = Condition()
        self.shed_total = 0

    def offer(self, events: Sequence[Event]) -> None:
        """Never waits. Readings beyond the quota or the rate are shed and declared; other events always fit."""
        if not events:
            return
        with self._condition:
            allowed = self._allowed(events)
            if self._shed and allowed:
                self._declare(events[0].stamp)
            if allowed >= len(events):
                self.queue.extend(events)
            else:
                self._take_some(events, allowed)
            self._schedule()

    def offer_waiting(self, events: Sequence[Event], timeout_s: float) -> Sequence[Event]:
        """Waits for room, for producers that can be held back; returns what did not fit in time."""
        with self._condition:
            if not self._condition.wait_for(lambda: len(self.queue) < self._limit, timeout_s):
                return events
            room = self._limit - len(self.queue)
            self.queue.extend(events[:room])
            self._schedule()
        return events[room:]

    def settle(self, stamp: Stamp) -> None:
        """Declares what was shed although nothing new comes."""
        with self._condition:
            if self._shed and len(self.queue) < self._limit:
                self._declare(stamp)
                self._schedule()

    def finish(self, stamp: Stamp) -> None:
        """The producer stops: what it shed last is declared, also where the feed is full."""
        with self._condition:
            self._declare(stamp)
            self.expected = False
            self._schedule()

    def expect(self, *, more: bool) -> None:
        """Whether this producer, of a recording, has more to come that the others have to wait for."""
        with self._condition:
            self.expected = more
            self._schedule()

    @property
    def pending(self) -> int:
        return len(self.queue)

    def take(self) -> list[Event]:
        """The engine's turn: at most `SLICE` events, oldest first; of a recording those of any of its feeds."""
        if self._recording is not None:
            return self._take_of(self._recording)
        with self._condition:
            queue = self.queue
            if len(queue) <= SLICE:
                events = list(queue)
                queue.clear()
                self._scheduled = False
            else:
                events = [queue.popleft() for _ in range(SLICE)]
                self._inbox.ready.put(self)
            self._condition.notify()
        return events

    def room_made(self) -> None:
        """Wakes a producer that waits."""
        with self._condition:
            self._condition.notify()

    def _take_of(self, recording: Recording) -> list[Event]:
        with self._condition:
            self._scheduled = False  # before looking: who offers from now on says so anew
        events = recording.take()
        if events:
            with self._condition:
                self._schedule()
        return events

    def _allowed(self, events: Sequence[Event]) -> int:
        room = max(self._limit - len(self.queue), 0)
        if self._rate_hz is None:
            return room
        now_ns = events[0].stamp.mono_ns
        grown = self._allowance + max(now_ns - self._refilled_ns, 0) * self._rate_hz / 1e9
        self._refilled_ns = max(now_ns, self._refilled_ns)
        allowed = min(room, int(min(grown, self._burst)))
        self._allowance = min(grown, self._burst) - min(allowed, len(events))
        return allowed

    def _take_some(self, events: Sequence[Event], allowed: int) -> None:
        for event in events:
            if not isinstance(event, Reading):
                if self._shed and isinstance(event, Lost):
                    # its cursor must not be committed before what was shed is declared
                    self._declare(event.stamp)
                self.queue.append(event)
            elif allowed > 0:
                allowed -= 1
                self.queue.append(event)
            else:
                self._shed[event.stream] = self._shed.get(event.stream, 0) + 1
                self.shed_total += 1

    def _declare(self, stamp: Stamp) -> None:
        self.queue.extend(Lost(stream, n, "overload", stamp) for stream, n in self._shed.items())
        self._shed.clear()

    def _schedule(self) -> None:
        if not self._scheduled and (self.queue or self._recording):
            self._scheduled = True
            self._inbox.ready.put(self)


class Recording:
    """Feeds whose events are taken in the order of event time; of one instant, in the order of the feeds."""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []

    def take(self) -> list[Event]:
        """At most `SLICE` events; none while a feed is empty of which more is expected."""
        events: list[Event] = []
        while len(events) < SLICE and (feed := self._first()) is not None:
            events.append(feed.queue.popleft())
        for feed in self.feeds if events else ():
            feed.room_made()
        return events

    def _first(self) -> Feed | None:
        first, first_ns = None, 0
        for feed in self.feeds:
            expected = feed.expected  # asked first: what is offered before it turns is then seen
            if not feed.queue:
                if expected:
                    return None
                continue
            mono_ns = feed.queue[0].stamp.mono_ns
            if first is None or mono_ns < first_ns:
                first, first_ns = feed, mono_ns
        return first


class Inbox:
    """All feeds of the engine."""

    def __init__(self) -> None:
        self.ready: SimpleQueue[Feed | None] = SimpleQueue()
        self._feeds: dict[str, Feed] = {}
        self._recording = Recording()

    def feed(self, name: str, *, limit: int = 4096, rate_hz: int | None = None) -> Feed:
        """A new feed that holds at most `limit` readings and takes at most `rate_hz` of them a second."""
        self._feeds[name] = feed = Feed(self, name, limit=limit, rate_hz=rate_hz)
        return feed

    def recorded_feed(self, name: str, *, limit: int = 4096) -> Feed:
        """A new feed of the recording that is replayed as fast as possible."""
        self._feeds[name] = feed = Feed(self, name, limit=limit, rate_hz=None, recording=self._recording)
        self._recording.feeds.append(feed)
        return feed

    def expect_no_more(self) -> None:
        """The sources have ended: what there is of a recording is all."""
        for feed in self._recording.feeds:
            feed.expect(more=False)

    def named(self, name: str) -> Feed:
        """The feed that was made under this name."""
        return self._feeds[name]

    def feeds(self) -> list[Feed]:
        return list(self._feeds.values())

    def wait(self, timeout_s: float) -> Feed | None:
        """The feed whose turn it is; None after the timeout or when somebody called `wake`."""
        try:
            return self.ready.get(timeout=timeout_s)
        except Empty:
            return None

    def wake(self) -> None:
        self.ready.put(None)

    def shed(self) -> dict[str, int]:
        """Readings shed so far, by feed."""
        return {name: feed.shed_total for name, feed in self._feeds.items() if feed.shed_total}


