"""Pictures out of a stream of JPEGs, as cameras send it over HTTP or a command writes it: `receive(bytes)`, no I/O.

JPEG's own structure says where a picture ends (ITU-T T.81, annex B), whatever stands between two of them, so that
a truncated one is noticed: a decoder would show the rest of it grey and say nothing.
"""

from __future__ import annotations

import re

_START = b"\xff\xd8"
_END = 0xD9
_SCAN = 0xDA
_BARE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_LIMIT = 32 * 2**20


class JpegSplitter:
    """`broken` counts pictures that began and did not end as one."""

    def __init__(self) -> None:
        self.broken = 0
        self._buffer = bytearray()
        self._at = 0
        """Everything before it belongs to the picture that began at the buffer's start; 0: none has begun."""
        self._in_scan = False

    def feed(self, data: bytes) -> list[bytes]:
        """The pictures that became complete, oldest first."""
        self._buffer += data
        pictures = []
        while (picture := self._next()) is not None:
            pictures.append(picture)
        if len(self._buffer) > _LIMIT:
            self._give_up(len(self._buffer))
        return pictures

    def _next(self) -> bytes | None:
        while self._begin():
            end = self._find_end()
            if end is None:
                return None
            if end:
                picture = bytes(self._buffer[:end])
                self._drop(end)
                return picture
        return None

    def _begin(self) -> bool:
        """Whether a picture has begun; drops what stands before it."""
        if self._at:
            return True
        start = self._buffer.find(_START)
        if start < 0:
            # the last byte may be half of a start
            del self._buffer[:-1]
            return False
        self._drop(start)
        self._at = 2
        return True

    def _find_end(self) -> int | None:
        """Where the picture ends; 0 when it turned out broken, None when more bytes are needed."""
        buffer = self._buffer
        while True:
            if self._in_scan and not self._skip_scan():
                return None
            if len(buffer) < self._at + 4:
                complete = len(buffer) >= self._at + 2 and buffer[self._at] == 0xFF and buffer[self._at + 1] == _END
                return self._at + 2 if complete else None
            marker = buffer[self._at + 1]
            if buffer[self._at] != 0xFF or marker == _START[1] or marker == 0:
                self._give_up(self._at if marker == _START[1] else 2)
                return 0
            if marker == _END:
                return self._at + 2
            if marker == 0xFF:
                self._at += 1
                continue
            length = 0 if marker in _BARE else int.from_bytes(buffer[self._at + 2 : self._at + 4], "big")
            self._at += 2 + length
            self._in_scan = marker == _SCAN

    def _skip_scan(self) -> bool:
        """To the marker after the compressed data; False when it has not come yet."""
        found = _AFTER_SCAN.search(self._buffer, self._at)
        if found is None:
            self._at = max(self._at, len(self._buffer) - 1)
            return False
        self._at = found.start()
        self._in_scan = False
        return True

    def _give_up(self, upto: int) -> None:
        self.broken += 1
        self._drop(upto)

    def _drop(self, upto: int) -> None:
        del self._buffer[:upto]
        self._at = 0
        self._in_scan = False
