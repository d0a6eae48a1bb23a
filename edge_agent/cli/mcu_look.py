"""What a microcontroller says of itself over SMP."""

from __future__ import annotations

import time
from typing import Any

from edge_agent.cli.mcu_access import Lease, failure
from edge_agent.cli.mcu_devices import Device
from firmware_bridge.errors import BridgeError, LinkDown
from firmware_bridge.mcu import Mcu


def pinged(device: Device, count: int) -> dict[str, Any]:
    """The document of `mcu ping`."""
    lease, took = Lease(device), []
    try:
        link = lease.take()
        for number in range(count):
            begun_s = time.perf_counter()
            try:
                came_back = link.echo(f"ping {number}", 1.0)
            except LinkDown:
                continue
            if came_back:
                took.append(round(1e3 * (time.perf_counter() - begun_s), 1))
    except BridgeError as e:
        raise failure(e) from e
    finally:
        lease.end("looked")
    return {"ok": len(took) == count, "mcu": device.name, "sent": count, "answered": len(took), "ms": took}


def looked_at(device: Device) -> dict[str, Any]:
    """The document of `mcu info`."""
    lease = Lease(device)
    try:
        mcu = Mcu(lease.take())
        slots = [
            {"slot": s.slot, "version": s.version, "hash": s.hash.hex(), "active": s.active,
             "confirmed": s.confirmed, "pending": s.pending, "bootable": s.bootable}
            for s in mcu.slots()
        ]  # fmt: skip
        return {"ok": True, "mcu": device.name, "port": device.port, "slots": slots,
                "bootloader": mcu.bootloader(), "slot_bytes": device.slot_bytes or mcu.slot_bytes(),
                "buffer_bytes": mcu.buffer_bytes()}  # fmt: skip
    except BridgeError as e:
        raise failure(e) from e
    finally:
        lease.end("looked")
