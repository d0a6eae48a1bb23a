"""Topics of the contract: `edge/v1/{tenant}/{site}/{gateway}/{up|down}/{kind}[/{key}]`."""

from __future__ import annotations

import re

import msgspec

VERSION = "v1"
UP, DOWN = "up", "down"

TELE, INFER, DECISION, ALERT, LEDGER = "tele", "infer", "decision", "alert", "ledger"
STATE, HEALTH, REPORTED = "state", "health", "reported"
CMD, DESIRED, ACK = "cmd", "desired", "ack"

RETAINED = frozenset({STATE, HEALTH, REPORTED, DESIRED})
"""Kinds that are state: the broker keeps the newest. Everything else is never retained."""

MAX_BODY = 128 * 1024
"""Bytes of a message, as the smallest of the brokers takes it."""

_SEGMENT = re.compile(r"[a-z0-9_-]{1,64}")


class Topic(msgspec.Struct, frozen=True):
    """One topic, taken apart. `key` is empty where the kind has none."""

    tenant: str
    site: str
    gateway: str
    direction: str
    kind: str
    key: str = ""

    def __str__(self) -> str:
        path = ("edge", VERSION, self.tenant, self.site, self.gateway, self.direction, self.kind)
        return "/".join((*path, self.key) if self.key else path)


class Gateway(msgspec.Struct, frozen=True):
    """Builds the topics of one gateway."""

    tenant: str
    site: str
    gateway: str

    def up(self, kind: str, key: str = "") -> str:
        """`up/{kind}` or `up/{kind}/{key}`: what the gateway publishes."""
        return str(Topic(self.tenant, self.site, self.gateway, UP, kind, key))

    def down(self, kind: str, key: str = "") -> str:
        """`down/{kind}` or `down/{kind}/{key}`: what it is told."""
        return str(Topic(self.tenant, self.site, self.gateway, DOWN, kind, key))

    def all_down(self) -> str:
        """The filter that takes everything the gateway is told."""
        return f"edge/{VERSION}/{self.tenant}/{self.site}/{self.gateway}/{DOWN}/#"


def parse_topic(text: str) -> Topic | None:
    """None for a topic that is not one of this contract's, or that has a segment outside `[a-z0-9_-]`."""
    root, *rest = text.split("/")
    if root != "edge" or len(rest) not in (6, 7) or rest[0] != VERSION:
        return None
    if not all(_SEGMENT.fullmatch(segment) for segment in rest) or rest[4] not in (UP, DOWN):
        return None
    return Topic(*rest[1:])
