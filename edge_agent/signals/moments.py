"""Mean, standard deviation and slope of a window.

Std and rate sum differences to a sample that is itself in the window, so the sums are as well conditioned as the
window's own spread: an offset of 1e9 costs no digits. Front and back have their own reference samples and are
joined by the pairwise update of Chan, Golub and LeVeque (1979).
"""

from __future__ import annotations

from array import array
from itertools import accumulate

from edge_agent.signals.two_stacks import TwoStacks


class Mean(TwoStacks):
    """Arithmetic mean; None for an empty window."""

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        n = len(self._times) - self._head
        if n == 0:
            return None
        n_front = self._split - self._head
        return (self._sum + (self._front_sum[n_front - 1] if n_front else 0.0)) / n

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002 - a mean does not ask when
        self._sum += value

    def _clear_back(self) -> None:
        self._sum = 0.0

    def _load_front(self, times: array[int], values: array[float]) -> None:  # noqa: ARG002
        self._front_sum = array("d", accumulate(values))


class Std(TwoStacks):
    """Sample standard deviation (n - 1); None under two samples."""

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        n_front, n_back = self._split - self._head, len(self._times) - self._split
        n = n_front + n_back
        if n < 2:
            return None
        spread = 0.0
        if n_back:
            spread += self._yy - self._y * self._y / n_back
        if n_front:
            y = self._front_y[n_front - 1]
            spread += self._front_yy[n_front - 1] - y * y / n_front
            if n_back:
                apart = (self._values[self._split - 1] - self._values[self._split]) + (y / n_front - self._y / n_back)
                spread += apart * apart * n_front * n_back / n
        return float((max(spread, 0.0) / (n - 1)) ** 0.5)

    def _add(self, mono_ns: int, value: float) -> None:  # noqa: ARG002
        y = value - self._values[self._split]
        self._y += y
        self._yy += y * y

    def _clear_back(self) -> None:
        self._y = self._yy = 0.0

    def _load_front(self, times: array[int], values: array[float]) -> None:  # noqa: ARG002
        ys = [value - values[0] for value in values]
        self._front_y = array("d", accumulate(ys))
        self._front_yy = array("d", accumulate([y * y for y in ys]))


class Rate(TwoStacks):
    """Slope of the least-squares line, per second; None until two samples of different instants are inside."""

    def value(self, now_ns: int) -> float | None:
        self._evict(now_ns)
        split = self._split
        n_front, n_back = split - self._head, len(self._times) - split
        xx = xy = 0.0
        if n_back:
            xx += self._xx - self._x * self._x / n_back
            xy += self._xy - self._x * self._y / n_back
        if n_front:
            x, y = self._front_x[n_front - 1], self._front_y[n_front - 1]
            xx += self._front_xx[n_front - 1] - x * x / n_front
            xy += self._front_xy[n_front - 1] - x * y / n_front
            if n_back:
                x_apart = (self._times[split - 1] - self._times[split]) * 1e-9 + (x / n_front - self._x / n_back)
                y_apart = (self._values[split - 1] - self._values[split]) + (y / n_front - self._y / n_back)
                weight = n_front * n_back / (n_front + n_back)
                xx += x_apart * x_apart * weight
                xy += x_apart * y_apart * weight
        return xy / xx if self._times and self._times[-1] > self._times[self._head] else None

    def _add(self, mono_ns: int, value: float) -> None:
        x = (mono_ns - self._times[self._split]) * 1e-9
        y = value - self._values[self._split]
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y

    def _clear_back(self) -> None:
        self._x = self._y = self._xx = self._xy = 0.0

    def _load_front(self, times: array[int], values: array[float]) -> None:
        xs = [(t - times[0]) * 1e-9 for t in times]
        ys = [value - values[0] for value in values]
        self._front_x = array("d", accumulate(xs))
        self._front_y = array("d", accumulate(ys))
        self._front_xx = array("d", accumulate([x * x for x in xs]))
        self._front_xy = array("d", accumulate([x * y for x, y in zip(xs, ys, strict=True)]))
