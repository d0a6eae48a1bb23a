"""The engine's thread: takes events in turn from every feed, ticks at deadlines, sends effects where they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edge_agent.alerts import NEVER
from edge_agent.engine import Engine
from edge_agent.event_log import EventSink
from edge_agent.inbox import Feed, Inbox
from edge_agent.metrics import Histogram
from edge_agent.ports import Clock
from edge_agent.types import Act, Alert, Command, Decision, Effect, Event, Infer, Reading, Stamp, Tick

_IDLE_S = 1.0


class ActTaker(Protocol):
    def submit(self, act: Act) -> None: ...


class InferTaker(Protocol):
    def submit_window(self, infer: Infer, *, waiting: bool) -> None: ...

    def wait_answered(self, timeout_s: float) -> bool: ...


class Runner:
    """ports.Body of the engine. Actions and model inputs leave at once, records with those of the same slice.

    `unpaced` (every source is a replay or simulated, as fast as possible): time is what events say, nobody is
    dropped, and lanes and the store hold the engine back. A window's prediction is handled before the next event, so
    that two runs decide the same however fast the model is.
    """

    name = "engine"

    def __init__(
        self, engine: Engine, inbox: Inbox, clock: Clock, *, keep: Callable[[list[Effect]], None],
        actuators: Mapping[str, ActTaker], lanes: Mapping[str, InferTaker], sinks: Sequence[EventSink],
        watch: Callable[[Decision | Alert | Command], None], unpaced: bool,
    ) -> None:  # fmt: skip
        self.progress_ns = 0
        self.latency = Histogram()
        """From a reading's stamp to the moment its rules have been decided and its actions sent."""
        self.handled = 0
        self.now = Stamp(0, 0)
        self._engine = engine
        self._inbox = inbox
        self._clock = clock
        self._keep = keep
        self._actuators = actuators
        self._lanes = lanes
        self._sinks = sinks
        self._watch = watch
        self._unpaced = unpaced
        self._asked: list[str] = []
        """Lanes that were given a window by the event at hand."""
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self._inbox.wake()

    def run(self) -> None:
        self._handle([Tick(self.now if self._unpaced else self._clock.now())])
        while not self._stopping.is_set():
            self.progress_ns = self._clock.mono_ns()
            feed = self._inbox.wait(self._patience())
            if feed is not None:
                self._turn(feed)
            elif not self._unpaced:
                self._tick_if_due()
        self._finish()

    def begin_at(self, stamp: Stamp) -> None:
        """Unpaced: the instant before the first event."""
        self.now = stamp

    def _finish(self) -> None:
        """What is in the inbox is accepted: it is handled before the thread ends."""
        self._inbox.expect_no_more()
        for feed in self._inbox.feeds():
            while feed.pending:
                self._turn(feed)
        for sink in self._sinks:
            sink.close()

    def _patience(self) -> float:
        deadline = self._engine.next_deadline()
        if self._unpaced or deadline == NEVER:
            return _IDLE_S
        return min(max((deadline - self._clock.mono_ns()) / 1e9, 0.0), _IDLE_S)

    def _tick_if_due(self) -> None:
        now = self._clock.now()
        if self._engine.next_deadline() <= now.mono_ns:
            self._handle([Tick(now)])

    def _turn(self, feed: Feed) -> None:
        self._handle(feed.take())

    def _handle(self, events: list[Event]) -> None:
        taken: list[Event] = []
        kept: list[Effect] = []
        for event in events:
            self._one(event, taken, kept)
            while self._asked:
                for answer in self._answers(self._asked.pop()):
                    self._one(answer, taken, kept)
        self.handled += len(events)
        if kept:
            self._keep(kept)
        for sink in self._sinks:
            sink.append(taken)

    def _one(self, event: Event, taken: list[Event], kept: list[Effect]) -> None:
        """One event, after the ticks that are due before it."""
        engine = self._engine
        while NEVER > (deadline := engine.next_deadline()) <= event.stamp.mono_ns:
            tick = Tick(_at(event.stamp, max(deadline, self.now.mono_ns)))
            taken.append(tick)
            self._send(engine.handle(tick), kept)
            self.now = tick.stamp
        taken.append(event)
        self._send(engine.handle(event), kept)
        if event.stamp.mono_ns > self.now.mono_ns:
            self.now = event.stamp
        if type(event) is Reading and not self._unpaced:
            self.latency.add_us((self._clock.mono_ns() - event.stamp.mono_ns) // 1000)
        elif type(event) is Command:
            self._watch(event)

    def _answers(self, lane: str) -> list[Event]:
        """What the lane says of the window that it was given."""
        while not self._lanes[lane].wait_answered(_IDLE_S) and not self._stopping.is_set():
            self.progress_ns = self._clock.mono_ns()
        return self._inbox.named(f"lane:{lane}").take()

    def _send(self, effects: list[Effect], kept: list[Effect]) -> None:
        """Actions and model inputs do not wait for the events that were taken together with theirs."""
        for effect in effects:
            kind = type(effect)
            if kind is Act:
                self._act(effect)  # type: ignore[arg-type]
            elif kind is Infer:
                self._infer(effect)  # type: ignore[arg-type]
            else:
                kept.append(effect)
                if kind is Decision or kind is Alert:
                    self._watch(effect)  # type: ignore[arg-type]

    def _infer(self, infer: Infer) -> None:
        self._lanes[infer.lane].submit_window(infer, waiting=self._unpaced)
        if self._unpaced:
            self._asked.append(infer.lane)

    def _act(self, act: Act) -> None:
        self._actuators[act.actuator].submit(act)


def _at(stamp: Stamp, mono_ns: int) -> Stamp:
    """The same clock at another instant."""
    return Stamp(mono_ns, stamp.wall_ns + mono_ns - stamp.mono_ns, stamp.quality, stamp.boot)
