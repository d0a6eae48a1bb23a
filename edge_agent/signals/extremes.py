"""Minimum, maximum and range of a window."""

from __future__ import annotations

from array import array
from itertools import accumulate
from math import inf

from edge_agent.signals.two_stacks import Lossless


class Min(Lossless):
    """Least value; None for an empty window."""

    _least: float

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        n_front = self._split - self._head
        if n_front:
            return min(self._front_least[n_front - 1], self._least)
        return self._least if self._times else None

    def _join(self, first: float, second: float) -> float:
        return min(first, second)

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002 - an extreme does not ask when
        if value < self._least:
            self._least = float(value)

    def _clear_back(self) -> None:
        self._least = inf

    def _load_front(self, times: array[int], values: array[float]) -> None:  # noqa: ARG002
        self._front_least = array("d", accumulate(values, min))


class Max(Lossless):
    """Greatest value; None for an empty window."""

    _greatest: float

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        n_front = self._split - self._head
        if n_front:
            return max(self._front_greatest[n_front - 1], self._greatest)
        return self._greatest if self._times else None

    def _join(self, first: float, second: float) -> float:
        return max(first, second)

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002
        if value > self._greatest:
            self._greatest = float(value)

    def _clear_back(self) -> None:
        self._greatest = -inf

    def _load_front(self, times: array[int], values: array[float]) -> None:  # noqa: ARG002
        self._front_greatest = array("d", accumulate(values, max))


class Range:
    """Greatest less least value; None for an empty window."""

    def __init__(self, window_ns: int, count: int, max_samples: int) -> None:
        self._min = Min(window_ns, count, max_samples)
        self._max = Max(window_ns, count, max_samples)

    @property
    def late(self) -> int:
        return self._max.late

    @property
    def thinned(self) -> int:
        return self._max.thinned

    @property
    def ignored(self) -> int:
        return self._max.ignored

    def push(self, mono_ns: int, value: float) -> None:
        self._min.push(mono_ns, value)
        self._max.push(mono_ns, value)

    def value(self, now_ns: int) -> float | None:
        least, greatest = self._min.value(now_ns), self._max.value(now_ns)
        return None if least is None or greatest is None else greatest - least

    def next_change(self, now_ns: int) -> int | None:
        return self._max.next_change(now_ns)
