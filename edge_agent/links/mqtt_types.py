"""What an MQTT session is told and what it tells: settings, publications and events, without the library."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge_agent.config.site import TlsConfig


class Subscription(msgspec.Struct, frozen=True):
    """A topic filter. `retained`: also the documents that the broker kept from before (MQTT 5: retain handling)."""

    topic: str
    qos: int = 1
    retained: bool = True


class Publication(msgspec.Struct, frozen=True):
    """One QoS 1 message. `content_type`, `expiry_s`, `user` and `correlation` go out on MQTT 5 only."""

    topic: str
    body: bytes
    retain: bool = False
    content_type: str = ""
    expiry_s: int | None = None
    user: tuple[tuple[str, str], ...] = ()
    correlation: bytes = b""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one broker. Secrets and certificates are files, read again at every connection."""

    host: str
    port: int
    client_id: str
    version: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig | None = None
    keepalive_s: int = 30
    """A silent connection is given up within one and a half times this."""
    session_expiry_s: int = 86_400
    """0: the broker forgets this client's subscriptions and queue when the connection ends."""
    window: int = 50
    """Most publications in flight; the broker's Receive Maximum lowers it."""
    max_body_bytes: int = 65_536
    """Of a message that comes in; larger ones are dropped, on MQTT 5 by the broker already."""
    owed: int = 0
    """Not 0: what comes in is acknowledged by `Session.acknowledge` only, and the broker sends no more than so many
    messages ahead of that (MQTT 5: Receive Maximum)."""
    will: Publication | None = None
    subscriptions: tuple[Subscription, ...] = ()


class Connected(msgspec.Struct, frozen=True):
    """The broker accepted. `window`: publications that may be in flight; `max_packet_bytes`: the broker's limit."""

    window: int
    session_present: bool
    max_packet_bytes: int


class Lost(msgspec.Struct, frozen=True):
    """The attempt failed or the connection ended; the session is of no further use. `busy`: come back later than
    usual, since the broker asked for it or will not change its mind soon."""

    reason: str
    hint: str = ""
    busy: bool = False

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}" if self.hint else self.reason


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """The broker answered a publication. `code` is the MQTT 5 reason code, 0 on 3.1.1; >= 0x80 is not delivered."""

    mid: int
    code: int


class Message(msgspec.Struct, frozen=True):
    """One message that came for a subscription, within `max_body_bytes`. `mid` is what `acknowledge` wants.

    `response_topic` and `correlation` are what the sender asks for an answer, on MQTT 5; nobody has to heed it."""

    topic: str
    body: bytes
    retained: bool
    content_type: str = ""
    mid: int = 0
    response_topic: str = ""
    correlation: bytes = b""


class Dropped(msgspec.Struct, frozen=True):
    """A message that was dropped before anybody looked into it, with the reason: `too_large` or `bad_topic`."""

    reason: str
    item: bytes


class SubscriptionRefused(msgspec.Struct, frozen=True):
    """The broker does not grant this filter."""

    topic: str
    code: int


LinkEvent = Connected | Lost | Confirmed | Message | Dropped | SubscriptionRefused
