"""What waits for a lane: bounded, and every input that will not be inferred is counted.

`latest` holds one input and lets a newer one replace it; `every` holds `limit` and refuses further ones. A producer
that can be held back (a replay) waits for room instead.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Lock

from edge_agent.types import Frame, Infer

Input = Frame | Infer


class LaneInputs:
    """Any thread puts, the lane takes."""

    def __init__(self, *, latest: bool, limit: int) -> None:
        self._latest = latest
        self._limit = 1 if latest else limit
        self._queue: deque[Input] = deque()
        self._skipped = 0
        self._held_back = False
        self._in_hand = False
        self._closed = False
        lock = Lock()
        self._filled = Condition(lock)
        self._emptied = Condition(lock)

    def put(self, item: Input, *, waiting: bool) -> None:
        with self._filled:
            if waiting:
                self._emptied.wait_for(lambda: len(self._queue) < self._limit or self._closed)
            if self._closed:
                return
            if len(self._queue) >= self._limit:
                self._skipped += 1
                if not self._latest:
                    return
                self._queue.popleft()
            self._held_back = waiting
            self._queue.append(item)
            self._filled.notify()

    def take(self, timeout_s: float) -> Input | None:
        """The oldest input; None after the timeout or when closed."""
        with self._filled:
            if not self._queue and not self._closed:
                self._filled.wait(timeout_s)
            if not self._queue:
                return None
            self._in_hand = True
            self._emptied.notify()
            return self._queue.popleft()

    def take_early(self) -> Input | None:
        """The input after the one in hand, where none can replace it any more; None also when none waits."""
        with self._filled:
            if not self._queue or (self._latest and not self._held_back):
                return None
            self._emptied.notify()
            return self._queue.popleft()

    def done(self) -> None:
        """What was taken is dealt with."""
        with self._emptied:
            self._in_hand = False
            self._emptied.notify_all()

    @property
    def busy(self) -> bool:
        """Whether anything waits or is in the lane's hand."""
        with self._filled:
            return self._in_hand or bool(self._queue)

    def wait_idle(self, timeout_s: float) -> bool:
        """False where something still waits, or is in the lane's hand, after so long."""
        with self._emptied:
            return self._emptied.wait_for(lambda: self._closed or not (self._in_hand or self._queue), timeout_s)

    def discard(self) -> None:
        """Gives up all that waits; counted as skipped."""
        with self._filled:
            self._skipped += len(self._queue)
            self._queue.clear()
            self._emptied.notify_all()

    def skipped(self) -> int:
        """Inputs that were replaced, refused or given up since the last call."""
        with self._filled:
            skipped, self._skipped = self._skipped, 0
        return skipped

    def close(self) -> None:
        """Nothing more goes in, and nobody waits any longer."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()


class FramePace:
    """Lets at most so many frames a second through, judged by their own stamps."""

    def __init__(self, rate_hz: float | None) -> None:
        self._interval_ns = round(1e9 / rate_hz) if rate_hz else 0
        self._next_ns = 0

    def due(self, stamp_ns: int) -> bool:
        # a quarter of an interval early is in time: a camera's clock wanders
        if stamp_ns < self._next_ns - self._interval_ns // 4:
            return False
        self._next_ns = max(self._next_ns + self._interval_ns, stamp_ns)
        return True
