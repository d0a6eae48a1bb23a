"""Lines on a byte stream: splitting with a bound, and the check value that may end a line. Pure, no I/O.

A line ends with LF; a CR before it is dropped. With a check, the line ends with `*` and hexadecimal digits:

    xor     8-bit exclusive or of all bytes before the `*`, without a leading `$` or `!` (NMEA 0183), 2 digits
    crc16   CRC-16/XMODEM (polynomial 0x1021, start 0) of all bytes before the `*`, 4 digits
    crc32   CRC-32 (zlib.crc32) of all bytes before the `*`, 8 digits
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import Literal

from edge_agent.errors import Rejected

Check = Literal["none", "xor", "crc16", "crc32"]


class LineSplitter:
    """Cuts what comes into lines of at most `max_line` bytes; keeps at most that much of an unfinished one.

    A longer line (CR included) is dropped up to its LF, and counted once in `overlong`, its bytes in `dropped_bytes`.
    """

    def __init__(self, max_line: int) -> None:
        self.overlong = 0
        self.dropped_bytes = 0
        self._max_line = max_line
        self._pending = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completed, without LF and CR, in order; empty ones are left out."""
        first, *rest = chunk.split(b"\n")
        if self._skipping:
            self.dropped_bytes += len(first)
            if not rest:
                return []
            lines = rest
        else:
            lines = [self._pending + first, *rest]
        self._pending = lines.pop()
        self._skipping = not self._fits(self._pending)
        if self._skipping:
            self._pending = b""
        return [body for line in lines if self._fits(line) and (body := line.rstrip())]

    def _fits(self, line: bytes) -> bool:
        if len(line) <= self._max_line:
            return True
        self.overlong += 1
        self.dropped_bytes += len(line)
        return False


def _nmea_xor(body: bytes) -> int:
    return reduce(xor, body[1:] if body[:1] in (b"$", b"!") else body, 0)


def _crc16(body: bytes) -> int:
    return binascii.crc_hqx(body, 0)


_CHECKS: dict[str, tuple[Callable[[bytes], int], int]] = {
    "xor": (_nmea_xor, 2),
    "crc16": (_crc16, 4),
    "crc32": (binascii.crc32, 8),
}


def append_check(body: bytes, check: Check) -> bytes:
    """`body` with its check value, without a line end."""
    if check == "none":
        return body
    compute, digits = _CHECKS[check]
    return b"%s*%0*X" % (body, digits, compute(body))


def checker(check: Check) -> Callable[[bytes], bytes]:
    """A function from a line to its body, which raises Rejected `check_missing` or `check_failed`."""
    if check == "none":
        return bytes
    compute, digits = _CHECKS[check]
    star = -digits - 1

    def body_of(line: bytes) -> bytes:
        if line[star : star + 1] != b"*":
            raise Rejected("check_missing", item=line)
        body = line[:star]
        if line[star + 1 :].upper() != b"%0*X" % (digits, compute(body)):
            raise Rejected("check_failed", item=line)
        return body

    return body_of
