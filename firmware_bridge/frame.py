"""COBS frames with CRC-32 (PROTOCOL.md section 1). No I/O.

Unfinished input is bounded, and after any garbage at most one good frame is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from firmware_bridge.errors import FrameTooLong

MAX_FRAME = 254
"""Longest decoded frame: type, seq, payload and CRC."""
MIN_FRAME = 6


def cobs_encode(data: bytes) -> bytes:
    """`data` without any 0x00, at most len / 254 + 1 bytes longer. Cheshire and Baker, 1999."""
    out = bytearray()
    for run in data.split(b"\0"):
        at = 0
        while len(run) - at > 253:
            out.append(255)
            out += run[at : at + 254]
            at += 254
        out.append(len(run) - at + 1)
        out += run[at:]
    # A full run at the very end needs no empty one behind it.
    if out[-1] == 1 and len(out) > 1 and _ends_full(data):
        out.pop()
    return bytes(out)


def _ends_full(data: bytes) -> bool:
    tail = len(data) - 1 - data.rfind(0)
    return tail > 0 and tail % 254 == 0


def cobs_decode(data: bytes) -> bytes | None:
    """The inverse of `cobs_encode`; `data` holds no 0x00. None when a code points beyond the end."""
    size = len(data)
    code = data[0] if data else 0
    if code == size and code != 255:
        return data[1:]
    # Each code but 255 stands where the zero after its run belongs: once it is one, all but the first is the frame.
    out = bytearray(data)
    full = []
    at = 0
    while at < size:
        code = data[at]
        out[at] = 0
        at += code
        if code == 255:
            full.append(at)
    if at != size or not size:
        return None
    for end in reversed(full):
        del out[end : end + 1]
    return bytes(out[1:])


def seal(kind: int, seq: int, payload: bytes, max_frame: int = MAX_FRAME) -> bytes:
    """One frame ready for the wire, 0x00 included. Raises FrameTooLong."""
    body = bytes((kind, seq & 255)) + payload
    if len(body) + 4 > max_frame:
        raise FrameTooLong(f"frame of type {kind:#04x} has {len(body) + 4} bytes, at most {max_frame} fit")
    return cobs_encode(body + crc32(body).to_bytes(4, "little")) + b"\0"


@dataclass(slots=True)
class FrameCounters:
    """What the decoder saw since it was made. `lost` is inferred from seq, so 256 lost at once go unseen."""

    good: int = 0
    crc_errors: int = 0
    bad_frames: int = 0
    oversize: int = 0
    lost: int = 0

    @property
    def damaged(self) -> int:
        """Runs of bytes that were not a frame."""
        return self.crc_errors + self.bad_frames + self.oversize


class Decoder:
    """Bytes in, (type, seq, payload) out. Keeps at most `max_frame` + max_frame / 254 bytes between calls."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.counters = FrameCounters()
        self._limit = max_frame + -(-max_frame // 254)
        self._rest = b""
        self._skipping = False
        self._seq = -1

    def reset(self) -> None:
        """Forgets the unfinished frame; call at every (re)connect. Counters stay."""
        self._rest = b""
        self._skipping = False
        self._seq = -1

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The good frames that `data` completes, in order."""
        chunks = (self._rest + data).split(b"\0")
        self._rest = chunks.pop()
        if self._skipping and chunks:
            del chunks[0]
            self._skipping = False
        frames = self._open_all(chunks)
        self._bound_rest()
        return frames

    def _open_all(self, chunks: list[bytes]) -> list[tuple[int, int, bytes]]:
        frames = []
        counters = self.counters
        limit = self._limit
        expected = self._seq
        for chunk in chunks:
            if not chunk:
                continue
            if len(chunk) > limit:
                counters.oversize += 1
                continue
            body = cobs_decode(chunk)
            if body is None or len(body) < MIN_FRAME:
                counters.bad_frames += 1
                continue
            if crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
                counters.crc_errors += 1
                continue
            seq = body[1]
            if expected >= 0:
                counters.lost += (seq - expected) & 255
            expected = (seq + 1) & 255
            frames.append((body[0], seq, body[2:-4]))
        counters.good += len(frames)
        self._seq = expected
        return frames

    def _bound_rest(self) -> None:
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > self._limit:
            self.counters.oversize += 1
            self._rest = b""
            self._skipping = True
