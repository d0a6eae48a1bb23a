"""Aggregates of a window that never subtract.

The samples stand in two stacks, front and back. The back is where new ones come; its aggregate is a few running
numbers. The front holds older ones, and for each the aggregate of itself and all newer ones of the front, so that a
sample leaves by moving an index. When the front is used up, the back turns into the new front. A sample that has
left, however large it was, leaves no trace, and rounding does not outlive the samples it came from: sums cannot
drift. One push is O(1) amortised; a turn is one pass, 25 to 100 ns a sample. (Tangwongsan, Hirzel, Schneider, 2015.)
"""

from __future__ import annotations

from abc import abstractmethod
from array import array

from edge_agent.signals.samples import FOREVER_NS, Samples


class TwoStacks(Samples):
    """The front is `_times[_head:_split]`, the back is `_times[_split:]`."""

    def __init__(self, window_ns: int = FOREVER_NS, count: int = FOREVER_NS, max_samples: int = FOREVER_NS) -> None:
        super().__init__(window_ns, count, max_samples)
        self._split = 0
        self._clear_back()

    def _leave(self, head: int) -> None:
        self._head = head
        if head > self._split or head == len(self._times):
            self._trim()
            self._turn()

    def _turn(self) -> None:
        self._split = len(self._times)
        self._clear_back()
        self._load_front(self._times[self._head :][::-1], self._values[self._head :][::-1])

    def _add_late(self, place: int) -> None:
        if place > self._split:
            self._add(self._times[place], self._values[place])
        else:
            self._turn()

    def _merge(self, value: float) -> None:
        """Left out: the aggregate of a thinner window."""

    @abstractmethod
    def value(self, now_ns: int) -> float | int | None:
        """The aggregate of the samples inside at `now_ns`; None when there are too few."""

    @abstractmethod
    def _add(self, mono_ns: int, value: float) -> None:
        """Adds a sample to the aggregate of the back. Its first one is there already; order does not matter."""

    @abstractmethod
    def _clear_back(self) -> None:
        """The aggregate of an empty back."""

    @abstractmethod
    def _load_front(self, times: array[int], values: array[float]) -> None:
        """The samples of the front, newest first: entry i of an aggregate stands for the samples 0 to i."""


class Lossless(TwoStacks):
    """An aggregate in which one sample can stand for two."""

    @abstractmethod
    def _join(self, first: float, second: float) -> float:
        """The value of the sample that stands for both."""

    def _merge(self, value: float) -> None:
        if len(self._times) == self._split:  # the newest stands in the front, whose aggregates are made
            self._times.append(self._times[-1])
            self._values.append(value)
        else:
            self._values[-1] = self._join(self._values[-1], value)
        self._add(self._times[-1], value)
