"""Who owns a link in tests: takes events, checks values, commits."""

from __future__ import annotations

import time
from collections.abc import Callable

from firmware_bridge.events import Batch, Cursor, Event, Gap, Ready
from firmware_bridge.link import Link
from firmware_bridge.session import Session


class Owner:
    """Samples of stream 0 have their own number as value in every example device."""

    def __init__(self, path: object, session_id: int = 1, cursor: Cursor | None = None) -> None:
        self._path = str(path)
        self._session_id = session_id
        self._lives = 0
        self.link = Link(self._path, 921_600, Session(session_id, cursor))
        self.events: list[Event] = []
        self.cursor = cursor
        self.received = 0
        self.declared = 0
        self.open_gaps = 0
        self.wrong = 0
        self.holes = 0
        self.damaged = 0
        self._next: dict[int, int] = {}

    def killed(self) -> None:
        """As a host that dies and starts again: all that is left is the committed cursor."""
        self.link.close()
        self.damaged += self.link.session.frames.damaged
        self._lives += 1
        self.link = Link(self._path, 921_600, Session(self._session_id + self._lives, self.cursor))

    def step(self, timeout_s: float = 0.05) -> list[Event]:
        events = self.link.step(timeout_s)
        self.events += events
        for event in events:
            self._account(event)
        if self.cursor is not None:
            self.link.commit(self.cursor)
        return events

    def _account(self, event: Event) -> None:
        if isinstance(event, Batch):
            pairs = zip(event.streams, event.values, strict=True)
            self.wrong += sum(value != event.first + i for i, (stream, value) in enumerate(pairs) if stream == 0)
            self.received += len(event.values)
            self._follow(event.cursor.boot, event.first, event.cursor.next)
            self.cursor = event.cursor
        elif isinstance(event, Gap):
            self.open_gaps += event.end is None
            if event.end is not None:
                self.declared += event.end - event.first
                self._follow(event.boot, event.first, event.end)
            self.cursor = event.cursor
        elif isinstance(event, Ready) and self.cursor is None:
            self.cursor = event.cursor

    def _follow(self, boot: int, first: int, end: int) -> None:
        """Each batch and gap must begin where the one before it ended."""
        self.holes += first != self._next.get(boot, first)
        self._next[boot] = end

    def until(self, done: Callable[[], object], timeout_s: float = 10) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, f"not within {timeout_s} s; last: {self.events[-5:]}"
            self.step()

    def ready(self, timeout_s: float = 10) -> Ready:
        """Until the device is ready and its clock known."""
        seen = len(self.events)

        def found() -> list[Ready]:
            return [event for event in self.events[seen:] if isinstance(event, Ready)]

        self.until(lambda: found() and self.link.session.clock.synced, timeout_s)
        return found()[-1]

    def command(self, actuator: str, value: float) -> Event:
        """The end of a command."""
        seen = len(self.events)
        number = self.link.command(actuator, value, 1.0)

        def ended() -> list[Event]:
            return [e for e in self.events[seen:] if type(e).__name__ == "CommandEnded" and e.id == number]

        self.until(ended, 3)
        return ended()[0]
