"""Windows over one field: the functions that a `[[signal]]` may name.

A window takes (instant, value) and answers for any instant that is not before the last one it was asked for. It
reads no clock. All results are float, but `count` is int and `absent` is bool; None is unknown: an empty window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge_agent.signals.extremes import Max, Min, Range
from edge_agent.signals.moments import Mean, Rate, Std
from edge_agent.signals.percentile import Percentile
from edge_agent.signals.presence import Absent, Age, Count
from edge_agent.signals.samples import FOREVER_NS

MAX_SAMPLES = 32_768
"""A window by time is exact up to this many samples; `two_stacks` says what follows."""

_AGE_STEP_NS = 1_000_000_000


class Window(Protocol):
    """`late`, `thinned` and `ignored` count the readings that came too late, too densely, or not as numbers."""

    @property
    def late(self) -> int: ...
    @property
    def thinned(self) -> int: ...
    @property
    def ignored(self) -> int: ...

    def push(self, mono_ns: int, value: float) -> None:
        """One reading; older ones than the newest find their place as long as it is inside the window."""

    def value(self, now_ns: int) -> float | int | bool | None:
        """Of the readings with now - window < instant; lets older ones go for good."""

    def next_change(self, now_ns: int) -> int | None:
        """The earliest instant after now at which the value may change although no reading comes, if any."""


_BY_SAMPLES: dict[str, Callable[[int, int, int], Window]] = {
    "mean": Mean,
    "min": Min,
    "max": Max,
    "std": Std,
    "range": Range,
    "rate": Rate,
    "count": Count,
}


def make_window(
    fn: str,
    *,
    window_ns: int | None = None,
    count: int | None = None,
    p: float | None = None,
    max_samples: int = MAX_SAMPLES,
) -> Window:
    """The window of a `[[signal]]`: by time (`window_ns`) or over the last `count` readings.

    `absent` needs `window_ns`; of `age` it is the step in which it grows, 1 s by default. `percentile` needs `p`.
    Memory is 24 to 56 bytes a sample. Raises ValueError, with the reason, for anything else.
    """
    if fn == "age":
        if count is not None:
            raise ValueError("age looks at the last reading only and takes no count")
        return Age(window_ns or _AGE_STEP_NS)
    if (window_ns is None) == (count is None):
        raise ValueError(f"{fn} needs a window by time or by count, and not both")
    if (window_ns or count or 0) <= 0:
        raise ValueError("a window holds more than nothing")
    if fn == "absent":
        if window_ns is None:
            raise ValueError("absent needs a window by time")
        return Absent(window_ns)
    extent = (window_ns or FOREVER_NS, count or FOREVER_NS, max_samples)
    if fn == "percentile":
        if p is None or not 0 <= p <= 100:
            raise ValueError("percentile needs p from 0 to 100")
        return Percentile(p, *extent)
    if fn not in _BY_SAMPLES:
        raise ValueError(f'unknown window function "{fn}"')
    return _BY_SAMPLES[fn](*extent)
