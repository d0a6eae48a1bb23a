"""Commands as a backend makes them, and as somebody else would."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

pytest.importorskip("cryptography", reason='signed commands need cryptography: pip install "edge-agent[commands]"')

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.commands.envelope import Keyring, seal
from edge_agent.commands.verdict import Arrived, Key, Known
from edge_agent.contract.topics import Gateway

GATEWAY = Gateway("t", "s", "gw1")
OPERATOR, VIEWER, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2, 3))
NOW_MS = 1_767_225_600_000


def key(private: Ed25519PrivateKey, name: str, role: str, *allow: str) -> Key:
    return Key(name, role, frozenset(allow), private.public_key().public_bytes_raw())


KEYS = (
    key(OPERATOR, "ops-1", "operator", "rule.hold", "rule.release", "rule.reset", "alert.ack"),
    key(VIEWER, "desk", "viewer", "alert.ack"),
)


def ulid(n: int) -> str:
    return f"{n:026d}"


def fields(n: int, name: str = "rule.hold", now_ms: int | None = None, **other: Any) -> dict[str, Any]:
    """The fields of a good command, but for its signature."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return {
        "schema": "cmd/1", "id": ulid(n), "gw": "gw1", "tenant": "t", "site": "s", "name": name,
        "args": {"rule": "hot", "for_s": 600, "why": "cleaning"}, "issued": now_ms - 1000, "expires": now_ms + 60_000,
        "counter": n, "role": "operator", "reply": "up/cmd", **other,
    }  # fmt: skip


def text_of(n: int = 1, name: str = "rule.hold", **other: Any) -> bytes:
    """Unsigned."""
    return json.dumps(fields(n, name, **other)).encode()


def signed(n: int = 1, name: str = "rule.hold", *, by: Ed25519PrivateKey = OPERATOR, **other: Any) -> bytes:
    return seal(text_of(n, name, **other), by)


def arrived(body: bytes, *, topic: str = GATEWAY.down("cmd", "rule-hold"), retained: bool = False) -> Arrived:
    return Arrived(topic, body, retained)


def known(**other: Any) -> Known:
    usual = {"target": GATEWAY, "signer_of": Keyring(KEYS), "floors": {}, "seen": ()}
    return Known(**{**usual, "now_ms": NOW_MS, "synced": True, **other})
