"""One value against one simple type: texts, numbers, choices, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec.inspect as mi

from edge_agent.config.nearest import did_you_mean
from edge_agent.config.problems import shown
from edge_agent.config.wording import expected, found
from edge_agent.durations import DurationError, parse_duration

_INT64 = 1 << 63


class Misfit(Exception):
    """A value is not what its type asks for; without a reason: plainly of another type or out of its range."""

    def __init__(self, reason: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def text(value: object, of: mi.StrType) -> str:
    """Raises Misfit."""
    if not isinstance(value, str):
        raise Misfit
    if "\0" in value:
        raise Misfit("holds a NUL character", "delete it")
    too_short = of.min_length is not None and len(value) < of.min_length
    too_long = of.max_length is not None and len(value) > of.max_length
    if too_short or too_long or not _matches(of.pattern, value):
        raise Misfit
    return value


def number(value: object, of: mi.IntType | mi.FloatType) -> int | float:
    """Finite, of 64 bits, in range; a whole number where a number is wanted becomes a float. Raises Misfit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit(f"must be a finite number, found {value}")
    if isinstance(of, mi.IntType) and not isinstance(value, int):
        raise Misfit
    if not -_INT64 <= value < _INT64 or not _in_range(value, of):
        raise Misfit
    return value if isinstance(of, mi.IntType) else float(value)


def truth(value: object, _of: mi.BoolType) -> bool:
    """Raises Misfit."""
    if not isinstance(value, bool):
        raise Misfit
    return value


def choice(value: object, of: mi.LiteralType) -> object:
    """Raises Misfit, with the choice that was probably meant."""
    if any(value == one and type(value) is type(one) for one in of.values):
        return value
    if not isinstance(value, str):
        raise Misfit
    hint = did_you_mean(value, [one for one in of.values if isinstance(one, str)])
    raise Misfit(f"must be {expected(of)}, found {found(value)}", hint)


def duration(value: str, bounds: Mapping[str, str]) -> str:
    """`value`, a duration from bounds["shortest"] to bounds["longest"]. Raises Misfit."""
    shortest, longest = bounds["shortest"], bounds["longest"]
    try:
        ns = parse_duration(value)
    except DurationError as e:
        raise Misfit(e.message, e.hint) from e
    if not parse_duration(shortest) <= ns <= parse_duration(longest):
        raise Misfit(f"{shown(value)} is out of range", f"give from {shortest} to {longest}")
    return value


def _matches(pattern: str | None, value: str) -> bool:
    if pattern is None:
        return True
    # `$` alone would let a newline pass at the end
    return bool(re.fullmatch(pattern, value) if pattern.endswith("$") else re.search(pattern, value))


def _in_range(value: float, of: mi.IntType | mi.FloatType) -> bool:
    return (
        (of.ge is None or value >= of.ge)
        and (of.gt is None or value > of.gt)
        and (of.le is None or value <= of.le)
        and (of.lt is None or value < of.lt)
    )
