"""What `infer` and its image child say to each other: one question with a file's bytes, one answer with pixels."""

from __future__ import annotations

import struct

import msgspec

from edge_agent.sources.camera_wire import ImageHead
from edge_agent.types import ImageView

PREFIX = struct.Struct("<II")
"""Bytes of the MessagePack header, and of the raw bytes behind it."""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    view: ImageView


class Shaped(msgspec.Struct, frozen=True, tag="shaped", array_like=True):
    """The picture was `width` x `height`; the pixels of `image` follow."""

    width: int
    height: int
    image: ImageHead


class NoPicture(msgspec.Struct, frozen=True, tag="no_picture", array_like=True):
    reason: str


encode = msgspec.msgpack.Encoder().encode
decode_answer = msgspec.msgpack.Decoder(Shaped | NoPicture).decode
