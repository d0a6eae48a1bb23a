"""MQTT 5 properties of a publication, packed here: the library's own take 60 us a message."""

from __future__ import annotations

from paho.mqtt.properties import Properties

from edge_agent.links.mqtt_types import Publication

_EXPIRY, _CONTENT_TYPE, _CORRELATION, _USER = 2, 3, 9, 38


class PackedProperties(Properties):
    """Stands where the library expects its own; knows only how to be sent."""

    def __init__(self, packed: bytes) -> None:
        object.__setattr__(self, "packed", packed)

    def pack(self) -> bytes:
        packed: bytes = object.__getattribute__(self, "packed")
        return packed

    def __str__(self) -> str:
        return f"{len(self.pack())} bytes"


def pack(publication: Publication) -> PackedProperties:
    """MQTT 5.0 section 2.2.2: a length and then identifier and value of each property."""
    parts = []
    if publication.expiry_s is not None:
        parts.append(bytes([_EXPIRY]) + publication.expiry_s.to_bytes(4, "big"))
    if publication.content_type:
        parts.append(bytes([_CONTENT_TYPE]) + _text(publication.content_type))
    if publication.correlation:
        parts.append(bytes([_CORRELATION]) + _sized(publication.correlation))
    parts.extend(bytes([_USER]) + _text(name) + _text(value) for name, value in publication.user)
    body = b"".join(parts)
    return PackedProperties(variable_length(len(body)) + body)


def variable_length(n: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _text(text: str) -> bytes:
    return _sized(text.encode("utf-8"))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
