"""The samples of one window: which are inside, which come too late, and how many are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right

FOREVER_NS = 1 << 62
LARGEST = 1e150
"""Beyond this a value is no measurement, and its square no longer adds up in a double."""


class Samples(ABC):
    """Samples by time (the last `window_ns`) or by count (the last `count`), ordered by (instant, arrival).

    A sample of instant t is inside while now < t + window_ns. Of a window by time at most 2 x `max_samples` are
    kept: from `max_samples` on, a sample that comes less than window_ns / max_samples after the newest is merged
    into it. Extremes and counts lose nothing by that; for all others the sample is left out. `thinned` counts both.
    """

    def __init__(self, window_ns: int = FOREVER_NS, count: int = FOREVER_NS, max_samples: int = FOREVER_NS) -> None:
        self.late = self.thinned = self.ignored = 0
        self._window_ns = window_ns
        self._count = count
        self._max_samples = max_samples
        self._spacing_ns = window_ns // max_samples if window_ns < FOREVER_NS else 0
        self._cutoff = -FOREVER_NS
        self._edge = -FOREVER_NS
        """What is older than this is late: the newest sample, or the window's far end when it has passed that."""
        self._times, self._values = array("q"), array("d")
        self._head = 0
        """Index of the oldest sample inside."""

    def __len__(self) -> int:
        return len(self._times) - self._head

    def push(self, mono_ns: int, value: float) -> None:
        if not -LARGEST < value < LARGEST:
            self.ignored += 1
            return
        if mono_ns < self._edge:
            self._push_late(mono_ns, value)
            return
        if mono_ns - self._edge < self._spacing_ns and len(self) >= self._max_samples:
            self.thinned += 1
            self._merge(value)
            return
        self._edge = mono_ns
        self._times.append(mono_ns)
        self._values.append(value)
        self._add(mono_ns, value)
        if len(self._times) - self._head > self._count:
            self._leave(self._head + 1)

    def next_change(self, now_ns: int) -> int | None:
        """When the oldest sample leaves."""
        self._evict(now_ns)
        if self._window_ns == FOREVER_NS or self._head == len(self._times):
            return None
        return self._times[self._head] + self._window_ns

    def _evict(self, now_ns: int) -> None:
        """Lets the samples go that are outside at `now_ns`."""
        cutoff = now_ns - self._window_ns
        if cutoff <= self._cutoff:
            return
        self._cutoff = cutoff
        if cutoff >= self._edge:
            self._edge = cutoff + 1
        times, head = self._times, self._head
        if head < len(times) and times[head] <= cutoff:
            self._leave(bisect_right(times, cutoff, head))

    def _push_late(self, mono_ns: int, value: float) -> None:
        """To its place, O(n) at C speed; outside the window it is counted."""
        full = len(self) >= self._count
        outside = mono_ns <= max(self._cutoff, self._edge - self._window_ns)
        if outside or (full and mono_ns < self._times[self._head]):
            self.late += 1
        elif len(self) >= 2 * self._max_samples:
            self.thinned += 1
        else:
            place = bisect_right(self._times, mono_ns, self._head)
            self._times.insert(place, mono_ns)
            self._values.insert(place, value)
            self._add_late(place)
            if full:
                self._leave(self._head + 1)

    def _trim(self) -> None:
        """Forgets the samples before the head."""
        del self._times[: self._head], self._values[: self._head]
        self._head = 0

    @abstractmethod
    def _add(self, mono_ns: int, value: float) -> None:
        """The newest sample has come."""

    @abstractmethod
    def _add_late(self, place: int) -> None:
        """A sample was inserted at `place`."""

    @abstractmethod
    def _merge(self, value: float) -> None:
        """The newest sample stands for `value` too; leaving it out is an answer."""

    @abstractmethod
    def _leave(self, head: int) -> None:
        """The samples before `head` leave; the head moves there."""
