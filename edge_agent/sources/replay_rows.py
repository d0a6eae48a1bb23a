"""The lines of a captured file as rows: values by field, and the time the file gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import msgspec

from edge_agent.errors import Rejected
from edge_agent.sources.scalars import Names, settle
from edge_agent.types import Quality, Value

_MAX_LINE = 65_536

Decoder = Callable[[bytes], dict[str, Any] | None]
"""A line to values by column; None for a line that holds no row. Raises Rejected."""


class Row(msgspec.Struct, frozen=True):
    event_ns: int
    """Since the first row."""
    wall_ns: int | None
    """None where the file has no times."""
    values: dict[str, Value | None]
    quality: dict[str, Quality] | None


class Rows:
    """One row a call. `line` is the number of the last one looked at."""

    def __init__(self, stream: BinaryIO, decode: Decoder, times: Times, columns: Mapping[str, str]) -> None:
        """`columns` is field by column; empty, every column is the field of its own name."""
        self.line = 0
        self.ended = False
        self._stream = stream
        self._decode = decode
        self._times = times
        self._columns = columns
        self._names = Names()

    def next(self) -> Row | None:
        """None for a line without a row, and at the end. Raises Rejected for a bad line, OSError as the file does."""
        content = self._next_line()
        columns = self._decode(content) if content else None
        if columns is None:
            return None
        event_ns, wall_ns = self._times.take(columns)
        values = {field: columns.get(name) for name, field in self._columns.items()} if self._columns else columns
        if all(value is None for value in values.values()):
            raise Rejected("no_value", item=content)
        self._names.check(values)
        return Row(event_ns, wall_ns, values, settle(values))

    def _next_line(self) -> bytes:
        content = self._stream.readline(_MAX_LINE)
        self.ended = not content
        self.line += bool(content)
        if len(content) < _MAX_LINE or content.endswith(b"\n"):
            return content.rstrip(b"\r\n")
        while not content.endswith(b"\n") and (content := self._stream.readline(_MAX_LINE)):
            pass
        raise Rejected("too_long")


class Times:
    """Event time from the file's column of times."""

    def __init__(self, column: str, parse: Callable[[str], int]) -> None:
        self._column = column
        self._parse = parse
        self._first_ns: int | None = None

    def take(self, columns: dict[str, Any]) -> tuple[int, int | None]:
        """(event time, wall time) in ns; takes the column out. Raises Rejected `time`."""
        try:
            wall_ns = self._parse(str(columns.pop(self._column)))
        except (KeyError, ValueError, OverflowError) as e:
            raise Rejected("time") from e
        if self._first_ns is None:
            self._first_ns = wall_ns
        return wall_ns - self._first_ns, wall_ns


class Intervals(Times):
    """Event time of a file without times: one interval a row."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._taken = 0

    def take(self, columns: dict[str, Any]) -> tuple[int, int | None]:  # noqa: ARG002
        event_ns = self._taken * self._interval_ns
        self._taken += 1
        return event_ns, None
