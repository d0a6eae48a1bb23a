"""SMP, the management protocol of Zephyr and MCUboot, over a serial console: requests and answers. No I/O.

The framing is `smp.packet`'s (06 09 and 04 14, base64, CRC-16/XMODEM, LF); the header and the CBOR maps are built
here, because an upload needs a say in its own chunk size and repetitions. A console carries text as well: lines that
are no SMP are passed over.
"""

from __future__ import annotations

import struct
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2
from smp import packet
from smp.exceptions import SMPDecodeError

READ, WRITE = 0, 2
OS, IMAGE = 0, 1
ECHO, RESET, PARAMETERS, BOOTLOADER = 0, 5, 6, 8
STATE, UPLOAD, SLOTS = 0, 1, 6

_UNKNOWN = 1
"""SMP's return code for an error without a name."""

_HEADER = struct.Struct(">BBHHBB")
_VERSION_2 = 1 << 3
_LONGEST_LINE = 4096
LINE_BYTES: Final = 127
"""Of one console line, marker and LF included; what Zephyr takes by default."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. `rc` 0: done; else the reason, of the group where the device speaks SMP version 2."""

    group: int
    command: int
    seq: int
    body: Mapping[str, Any]

    @property
    def rc(self) -> int:
        error = self.body.get("err")
        code = error.get("rc", _UNKNOWN) if isinstance(error, dict) else self.body.get("rc", 0)
        return code if isinstance(code, int) else _UNKNOWN


def request(op: int, group: int, command: int, seq: int, body: Mapping[str, Any]) -> bytes:
    """One request as the bytes of its console lines."""
    return b"".join(packet.encode(message(op, group, command, seq, body), LINE_BYTES))


def message(op: int, group: int, command: int, seq: int, body: Mapping[str, Any]) -> bytes:
    """The same without framing: 8 bytes of header, then CBOR."""
    payload = cbor2.dumps(body)
    return _HEADER.pack(_VERSION_2 | op, 0, len(payload), group, seq & 0xFF, command) + payload


class Answers:
    """Finds answers in what a noisy console says. `damaged` counts what carried a marker and could not be read."""

    def __init__(self) -> None:
        self.damaged = 0
        self._line = bytearray()
        self._lines: list[bytes] = []

    def reset(self) -> None:
        """The port was opened anew: what came before it is cut where it is."""
        self._line.clear()
        self._lines.clear()

    def receive(self, data: bytes) -> list[Answer]:
        """The answers that these bytes complete."""
        found = []
        for piece in data.splitlines(keepends=True) if b"\n" in data else [data]:
            self._line += piece
            if not piece.endswith(b"\n"):
                if len(self._line) > _LONGEST_LINE:
                    self._line.clear()
                continue
            line = bytes(self._line)
            self._line.clear()
            answer = self._take(line)
            if answer is not None:
                found.append(answer)
        return found

    def _take(self, line: bytes) -> Answer | None:
        # a boot banner, or a character that noise has made, may stand before the marker
        start = max(line.find(packet.START_DELIMITER), -1)
        if start >= 0:
            self._lines = [line[start:]]
        elif line.startswith(packet.CONTINUE_DELIMITER) and self._lines:
            self._lines.append(line)
        else:
            return None
        try:
            frame = _frame(self._lines)
            return None if frame is None else _answer(frame)
        except (SMPDecodeError, NotBase64, cbor2.CBORDecodeError, struct.error, ValueError):
            self.damaged += 1
            self._lines.clear()
            return None


def _frame(lines: list[bytes]) -> bytes | None:
    """The message in these lines; None while some are missing."""
    decoder = packet.decode()
    next(decoder)
    for line in lines:
        try:
            decoder.send(line)
        except StopIteration as e:
            return bytes(e.value)
    return None


def _answer(frame: bytes) -> Answer:
    _, _, length, group, seq, command = _HEADER.unpack_from(frame)
    body = cbor2.loads(frame[_HEADER.size : _HEADER.size + length])
    if not isinstance(body, dict):
        raise ValueError("an answer is a map")  # noqa: TRY004 - it is damage like any other
    return Answer(group, command, seq, body)
