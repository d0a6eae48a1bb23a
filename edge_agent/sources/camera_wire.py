"""What a camera source and its capture child say to each other over a socket pair.

The parent sends the settings once, then one byte for each frame that it is ready to take: the child never sends a
frame that nobody waits for, so the newest one is never behind older ones. The child sends frames, and before its
end one message that says why.
"""

from __future__ import annotations

import struct

import msgspec

from edge_agent.types import ImageView

LENGTH = struct.Struct("<I")
CREDIT = b"\x01"
CREDITS = 2
"""Frames on their way: one is taken while the next is decoded."""
SETTINGS_LIMIT = 2**20
PIXELS_LIMIT = 2**28


class Settings(msgspec.Struct, frozen=True):
    """What to capture, and how. `kind`: `device`, `url`, `http`, `file` or `command`."""

    kind: str
    target: tuple[str, ...]
    views: tuple[ImageView, ...]
    open_timeout_ms: int
    read_timeout_ms: int
    max_fps: float | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    fourcc: str = ""
    speed: float | None = 1.0
    """Of a file: None is as fast as it is taken."""
    every_frame: bool = False
    loop: bool = False
    skip_repeats: bool = True
    decode_threads: int = 0


class ImageHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    height: int
    width: int
    channels: int
    scale: float
    dx: int
    dy: int

    @property
    def nbytes(self) -> int:
        return self.height * self.width * self.channels


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the camera gave since the last message: all pictures, those that were the same as the one before, and
    those that could not be decoded (not among `pictures`)."""

    pictures: int = 0
    repeated: int = 0
    broken: int = 0


class FrameHead(msgspec.Struct, frozen=True, tag="frame", array_like=True):
    """`event_ns`: since the start of a file. The images' pixels follow, in order."""

    number: int
    mono_ns: int
    event_ns: int
    seen: Seen
    images: tuple[ImageHead, ...]


class Idle(msgspec.Struct, frozen=True, tag="idle", array_like=True):
    """No frame to send for a while; perhaps the camera shows the same picture all the time."""

    seen: Seen


class Ended(msgspec.Struct, frozen=True, tag="ended", array_like=True):
    """The child is about to end. `finished`: a file was read to its end; else `reason` and `hint` say what broke."""

    finished: bool
    reason: str = ""
    hint: str = ""


FromChild = FrameHead | Idle | Ended

encode = msgspec.msgpack.Encoder().encode
decode_from_child = msgspec.msgpack.Decoder(FromChild).decode
decode_settings = msgspec.msgpack.Decoder(Settings).decode


def packed(message: msgspec.Struct) -> bytes:
    """Length and MessagePack."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body
