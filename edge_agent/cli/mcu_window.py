"""The health window: whether a device with its new image does what it is there for."""

from __future__ import annotations

import time
from typing import Any

from edge_agent.cli.agent_socket import NoAnswer
from edge_agent.cli.mcu_access import Lease
from edge_agent.cli.mcu_devices import Device
from firmware_bridge.errors import BridgeError, LinkDown
from firmware_bridge.flash import answers

_LOOK_S = 0.5
_TELL_S = 2.0
_FRESH_S = 3.0
"""Samples that are older are none; a source needs up to 5 s to open its port again."""


def well(device: Device, lease: Lease, window_s: float) -> str:
    """Why it is not well after the window; empty when it is. The port may be given back meanwhile."""
    if device.health == "answers":
        return answers(lease, window_s, time.sleep, time.monotonic)
    if lease.agent:
        return _by_its_source(device, lease, window_s)
    return _by_its_line(device, lease, window_s)


def _by_its_source(device: Device, lease: Lease, window_s: float) -> str:
    """The source of the running agent has the port again and says how it is."""
    lease.give_back()
    before: int | None = None
    end_s, told_s = time.monotonic() + window_s, 0.0
    seen: dict[str, Any] = {}
    try:
        while time.monotonic() < end_s:
            time.sleep(min(_LOOK_S, max(end_s - time.monotonic(), 0.0)))
            seen = next((s for s in lease.status()["sources"] if s["name"] == device.source), {})
            before = _items(seen) if before is None else before
            if time.monotonic() - told_s >= _TELL_S:
                told_s = time.monotonic()
                lease.report("watch")
    except NoAnswer as e:
        return f"the agent that watches it has gone: {e.message}"
    if not seen.get("up"):
        return f"source {device.source} is down: {seen.get('reason', 'unknown')}"
    if device.health == "samples" and (_items(seen) <= (before or 0) or seen.get("age_s", 1e9) > _FRESH_S):
        return f"source {device.source} gets no samples"
    return ""


def _items(source: dict[str, Any]) -> int:
    return int(source.get("counts", {}).get("items", 0))


def _by_its_line(device: Device, lease: Lease, window_s: float) -> str:
    """Without an agent: what comes over the line, by the device's own protocol."""
    lease.give_back()
    if device.kind == "serial_bridge":
        return _by_its_session(device, window_s)
    import select

    from firmware_bridge.link import Port

    heard_s, end_s = 0.0, time.monotonic() + window_s
    try:
        port = Port(device.port, device.baud)
        try:
            while (left_s := end_s - time.monotonic()) > 0:
                if select.select([port.fileno()], [], [], min(left_s, _LOOK_S))[0] and b"\n" in port.read():
                    heard_s = time.monotonic()
        finally:
            port.close()
    except LinkDown as e:
        return str(e)
    return "" if time.monotonic() - heard_s < _FRESH_S else "no line of samples came"


def _by_its_session(device: Device, window_s: float) -> str:
    import secrets

    from firmware_bridge.events import Batch, Ready
    from firmware_bridge.link import Link
    from firmware_bridge.session import Session

    link = Link(device.port, device.baud, Session(secrets.randbits(32) or 1, None, None))
    hello, sample_s, end_s = False, 0.0, time.monotonic() + window_s
    try:
        while (left_s := end_s - time.monotonic()) > 0:
            for event in link.step(min(left_s, _LOOK_S)):
                hello = hello or isinstance(event, Ready)
                sample_s = time.monotonic() if isinstance(event, Batch) else sample_s
    except BridgeError as e:
        return str(e)
    finally:
        link.release()
    if not hello:
        return "no answer to hello"
    if device.health == "samples" and time.monotonic() - sample_s > _FRESH_S:
        return "no samples came"
    return ""
