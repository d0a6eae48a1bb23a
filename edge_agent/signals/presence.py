"""How many readings came, how long ago the last one was, and whether they have stopped."""

from __future__ import annotations

from array import array
from itertools import accumulate

from edge_agent.signals.two_stacks import Lossless


class Count(Lossless):
    """Readings inside; 0 for an empty window."""

    def push(self, mono_ns: int, value: float) -> None:  # noqa: ARG002 - a reading counts whatever it says
        super().push(mono_ns, 1.0)

    def value(self, now_ns: int) -> int:
        self._evict(now_ns)
        n_front = self._split - self._head
        return int(self._sum + (self._front_sum[n_front - 1] if n_front else 0.0))

    def _join(self, first: float, second: float) -> float:
        return first + second

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002
        self._sum += value

    def _clear_back(self) -> None:
        self._sum = 0.0

    def _load_front(self, times: array[int], values: array[float]) -> None:  # noqa: ARG002
        self._front_sum = array("d", accumulate(values))


class _SinceLast:
    """Remembers the newest reading; while there was none, the first instant it was asked about."""

    def __init__(self, window_ns: int) -> None:
        self.late = self.thinned = self.ignored = 0
        self._window_ns = window_ns
        self._last: int | None = None
        self._heard = False

    def push(self, mono_ns: int, value: float) -> None:  # noqa: ARG002
        if not self._heard or self._last is None or mono_ns > self._last:
            self._last = mono_ns
            self._heard = True

    def _since(self, now_ns: int) -> int:
        if self._last is None:
            self._last = now_ns
        return now_ns - self._last


class Absent(_SinceLast):
    """True when no reading came for the window, counted from the last one or, before any, from the first asking."""

    def value(self, now_ns: int) -> bool:
        return self._since(now_ns) >= self._window_ns

    def next_change(self, now_ns: int) -> int | None:
        left = self._window_ns - self._since(now_ns)
        return now_ns + left if left > 0 else None


class Age(_SinceLast):
    """Seconds since the last reading in whole steps of the window, so that it changes at deadlines and not always;
    None before any reading."""

    def value(self, now_ns: int) -> float | None:
        if not self._heard:
            return None
        return self._since(now_ns) // self._window_ns * self._window_ns / 1e9

    def next_change(self, now_ns: int) -> int | None:
        if not self._heard:
            return None
        return now_ns + self._window_ns - self._since(now_ns) % self._window_ns
