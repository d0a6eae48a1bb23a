"""A percentile of a window."""

from __future__ import annotations

from edge_agent.signals.samples import Samples
from edge_agent.signals.sorted_blocks import SortedBlocks

_TRIM_FROM = 1024


class Percentile(Samples):
    """The `p`-th percentile, 0 to 100, linear between the two nearest ranks; None for an empty window.

    O(log n) a reading, beside one step per 512 samples for the look-up by rank.
    """

    def __init__(self, p: float, window_ns: int, count: int, max_samples: int) -> None:
        super().__init__(window_ns, count, max_samples)
        self._p = p
        self._sorted = SortedBlocks()

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        n = len(self._sorted)
        if n == 0:
            return None
        rank = self._p / 100.0 * (n - 1)
        low = int(rank)
        below = self._sorted.at(low)
        if low == rank:
            return below
        return below + (self._sorted.at(low + 1) - below) * (rank - low)

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002 - order is by value, not by time
        self._sorted.add(float(value))

    def _add_late(self, place: int) -> None:
        self._sorted.add(self._values[place])

    def _merge(self, value: float) -> None:
        """Left out: a percentile of every k-th sample."""

    def _leave(self, head: int) -> None:
        for value in self._values[self._head : head]:
            self._sorted.remove(value)
        self._head = head
        if head > _TRIM_FROM and 2 * head > len(self._times):
            self._trim()
