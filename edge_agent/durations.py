"""Durations and windows as people write them: "500ms", "10s", "5m", "2h", "1d", "20 readings"."""

import re
from dataclasses import dataclass

_UNIT_NS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
}
_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
_READINGS = re.compile(r"([0-9]{1,15}) readings?")

MAX_DURATION_NS = 366 * _UNIT_NS["d"]
MAX_READINGS = 100_000
LONGEST_HOLD_NS = 7 * _UNIT_NS["d"]
"""Of a person on a rule."""

_DURATION_HINT = 'write a whole number and one unit, such as "500ms", "10s", "5m", "2h" or "1d"'
_WINDOW_HINT = 'write a duration such as "30s" or "5m", or a count such as "20 readings"'


class DurationError(ValueError):
    """A duration or window that is not one. `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Window:
    """The last `ns` nanoseconds, or the last `readings` readings; the other one is 0."""

    ns: int = 0
    readings: int = 0

    def __str__(self) -> str:
        return format_duration(self.ns) if self.ns else f"{self.readings} readings"


def parse_duration(text: str, longest_ns: int = MAX_DURATION_NS) -> int:
    """Nanoseconds, from 0 to `longest_ns`. Raises DurationError for anything but one number and one unit."""
    match = _DURATION.fullmatch(text)
    hint = f"{_DURATION_HINT}, at most {format_duration(longest_ns)}"
    if match is None:
        raise DurationError(f"{_shown(text)} is not a duration", hint)
    duration_ns = int(match[1]) * _UNIT_NS[match[2]]
    if duration_ns > longest_ns:
        raise DurationError(f"{_shown(text)} is too long a duration here", hint)
    return duration_ns


def parse_window(text: str) -> Window:
    """A window longer than nothing. Raises DurationError, also for 0 and for what no box could hold."""
    match = _READINGS.fullmatch(text)
    if match is not None:
        return _count_window(text, int(match[1]))
    if _DURATION.fullmatch(text) is None:
        raise DurationError(f"{_shown(text)} is not a window", _WINDOW_HINT)
    window_ns = parse_duration(text)
    if window_ns == 0:
        raise DurationError("a window of 0 holds no readings", _WINDOW_HINT)
    return Window(ns=window_ns)


def format_duration(duration_ns: int) -> str:
    """The shortest exact spelling that parse_duration reads back; below 1 ms a plain "<n>ns"."""
    if duration_ns == 0:
        return "0s"
    for unit, unit_ns in _UNIT_NS.items():
        if duration_ns % unit_ns == 0:
            return f"{duration_ns // unit_ns}{unit}"
    return f"{duration_ns}ns"


def _count_window(text: str, readings: int) -> Window:
    if not 1 <= readings <= MAX_READINGS:
        raise DurationError(f"{_shown(text)} is out of range", f"count from 1 to {MAX_READINGS} readings")
    return Window(readings=readings)


def _shown(text: str) -> str:
    """Bounded, and ASCII only: a hostile text must not reach a terminal raw."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")
