"""The lines of a captured file as rows: what each says, and the time the file gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec

from edge_agent.errors import Rejected

_MAX_LINE = 65_536

Decoder = Callable[[bytes], dict[str, Any] | None]
"""A line to values by the file's names; None for a line that holds no row. Raises Rejected."""


class Row(msgspec.Struct, frozen=True):
    line: int
    event_ns: int
    """Since the first row."""
    wall_ns: int | None
    """None where the file has no times."""
    said: dict[str, Any]


class Rows:
    """One line a call. `line` and `content` are the number and the beginning of the last one looked at."""

    def __init__(self, stream: BinaryIO, decode: Decoder, times: Times | Intervals) -> None:
        self.line = 0
        self.content = b""
        self.ended = False
        self._stream = stream
        self._decode = decode
        self._times = times

    def next(self) -> Row | None:
        """None for a line without a row, and at the end. Raises Rejected for a bad line, OSError as the file does."""
        content = self._next_line()
        said = None if content[:1] in (b"", b"#") else self._decode(content)
        return None if said is None else self._times.row(self.line, said)

    def _next_line(self) -> bytes:
        content = self.content = self._stream.readline(_MAX_LINE)
        self.ended = not content
        self.line += bool(content)
        if len(content) < _MAX_LINE or content.endswith(b"\n"):
            return content.rstrip(b"\r\n")
        while not content.endswith(b"\n") and (content := self._stream.readline(_MAX_LINE)):
            pass
        raise Rejected("too_long")


_LATEST_NS = 4_102_444_800_000_000_000
"""The year 2100: what is later, or before 1970, is no time that a capture was taken at."""


class Times:
    """Rows by the file's own times."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self._name = name
        self._parse = parse
        self._first_ns: int | None = None

    def row(self, line: int, said: dict[str, Any]) -> Row:
        """The time is taken out of `said`. Raises Rejected `time`."""
        try:
            wall_ns = self._parse(str(said.pop(self._name)))
        except (KeyError, ValueError, OverflowError) as e:
            raise Rejected("time") from e
        if not 0 <= wall_ns < _LATEST_NS:
            raise Rejected("time")
        if self._first_ns is None:
            self._first_ns = wall_ns
        return Row(line, wall_ns - self._first_ns, wall_ns, said)


class Intervals:
    """Rows at equal distances, for a file without times."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._taken = 0

    def row(self, line: int, said: dict[str, Any]) -> Row:
        event_ns = self._taken * self._interval_ns
        self._taken += 1
        return Row(line, event_ns, None, said)
