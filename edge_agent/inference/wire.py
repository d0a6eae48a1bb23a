"""What a lane and its worker process say to each other over a socket pair.

A message is two little-endian u32 (bytes of the header, bytes of the payload), the header in MessagePack, and the
payload as raw bytes. Nothing in it can run code when decoded.
"""

from __future__ import annotations

import struct

import msgspec

from edge_agent.inference.manifest import Manifest
from edge_agent.types import Value

PREFIX = struct.Struct("<II")
HEADER_LIMIT = 16 * 2**20
PAYLOAD_LIMIT = 256 * 2**20

Outputs = dict[str, Value | list[Value] | None]


class Load(msgspec.Struct, frozen=True, tag="load", array_like=True):
    """Load a model under a number that the lane chose; answered by `Ready` or `Refusal`."""

    slot: int
    model_path: str
    manifest: Manifest
    threads: int
    providers: tuple[str, ...] = ()
    delegate: str = ""
    rehearse: bool = False
    """Try it in a fork first."""


class Ask(msgspec.Struct, frozen=True, tag="ask", array_like=True, gc=False):
    """Infer the payload: an image in the order of the model's view, or float32 (channels, length). Source pixels
    times `scale` plus (`dx`, `dy`) are pixels of the image. An empty payload means zeros: the warm-up."""

    slot: int
    scale: float = 1.0
    dx: int = 0
    dy: int = 0


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    """`backend` names what really runs it: the provider, the runtime package, the delegate."""

    slot: int
    backend: str


class Refusal(msgspec.Struct, frozen=True, tag="refusal", array_like=True):
    """The model cannot be loaded, and another try will not help."""

    slot: int
    reason: str
    hint: str


class Answer(msgspec.Struct, frozen=True, tag="answer", array_like=True):
    """`error` is empty when `outputs` may be used; an invalid answer says why, and may keep its detail."""

    slot: int
    outputs: Outputs
    detail: dict[str, object] | None = None
    error: str = ""


ToWorker = Load | Ask
FromWorker = Ready | Refusal | Answer

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode


def head(message: ToWorker | FromWorker, payload_bytes: int = 0) -> bytes:
    """Prefix and header of a message, ready to be sent before its payload."""
    header = encode(message)
    return PREFIX.pack(len(header), payload_bytes) + header
