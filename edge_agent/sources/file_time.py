"""Times as files write them, as nanoseconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

TimeFormat = Annotated[str, Meta(pattern=r"^(iso|epoch_s|epoch_ms|epoch_us|epoch_ns|.*%.*)$")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNIT_NS = {"epoch_s": 1_000_000_000, "epoch_ms": 1_000_000, "epoch_us": 1_000, "epoch_ns": 1}


def time_parser(time_format: str) -> Callable[[str], int]:
    """The parser of a `TimeFormat`; it raises ValueError for text that is no time. Without a zone it is UTC."""
    if time_format in _UNIT_NS:
        unit_ns = _UNIT_NS[time_format]
        return lambda text: _epoch(text, unit_ns)
    if time_format == "iso":
        return lambda text: _since_1970(datetime.fromisoformat(text.strip()))
    return lambda text: _since_1970(datetime.strptime(text.strip(), time_format))


def _epoch(text: str, unit_ns: int) -> int:
    whole, dot, part = text.strip().partition(".")
    if not dot:
        return int(whole) * unit_ns
    # a double has no room for nanoseconds since 1970
    return int(whole) * unit_ns + round(float(f"0.{part}") * unit_ns)


def _since_1970(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MICROSECOND * 1000
