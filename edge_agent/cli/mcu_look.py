"""Which microcontrollers a site has, and what one says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.cli import mcu_journal
from edge_agent.cli.mcu_access import Device, Lease, failure
from edge_agent.config.load import load_site
from edge_agent.config.site import McuConfig, SiteConfig, size_bytes
from edge_agent.drivers import DriverConfigs
from edge_agent.durations import DurationError, parse_duration
from edge_agent.errors import ExitCode, Fatal
from firmware_bridge import smp
from firmware_bridge.errors import BridgeError, LinkDown
from firmware_bridge.mcu import Mcu


def devices(
    site: Path, name: str | None, port: str | None, baud: int, group: str | None, given: Mapping[str, Any]
) -> list[Device]:
    """Those that a command is for; what is `given` by hand goes before the site file. Raises Fatal."""
    if port is not None:
        if name or group:
            raise _usage("--port excludes NAME and --group", "give one of them")
        found = [Device(port, port, baud)]
    elif group is not None:
        if name:
            raise _usage("--group excludes NAME", "give one of them")
        found = [d for d in all_devices(site) if d.group == group]
        if not found:
            groups = ", ".join(sorted({d.group for d in all_devices(site)}))
            raise _usage(f"no [[mcu]] of {site} is in group {group}", f"groups: {groups or 'none'}")
    else:
        found = [_named(all_devices(site), name, site)]
    return [_given(device, given) for device in found]


def device(site: Path, name: str | None, port: str | None, baud: int) -> Device:
    """The one that a command is for. Raises Fatal."""
    return devices(site, name, port, baud, None, {})[0]


def all_devices(site: Path) -> list[Device]:
    """Raises ConfigError, or Fatal where there is no such file."""
    if not site.exists():
        raise _usage(f"{site}: no such site file", "give --site FILE; or, without one, --port PORT")
    config = load_site(site, DriverConfigs()).config
    return [_device(mcu, config) for mcu in config.mcu]


def _device(mcu: McuConfig, site: SiteConfig) -> Device:
    owner = next((s for s in site.source if s.name == mcu.source), None)
    port = mcu.port or str(getattr(owner.driver if owner else None, "device", ""))
    if not port:
        raise _usage(f"[[mcu]] {mcu.name}: its source {mcu.source} has no serial port", "name a serial source")
    return Device(
        mcu.name, port, getattr(owner.driver, "baud", mcu.baud) if owner else mcu.baud,
        Path(site.agent.run_dir) / "agent.sock", Path(site.agent.data_dir), mcu.source or "",
        owner.kind if owner else "", Path(mcu.key) if mcu.key else None, mcu.board, mcu.group,
        size_bytes(mcu.slot) if mcu.slot else None, mcu.health, parse_duration(mcu.window) / 1e9,
    )  # fmt: skip


def _named(found: list[Device], name: str | None, site: Path) -> Device:
    names = ", ".join(d.name for d in found) or "none"
    if name is None:
        if len(found) != 1:
            raise _usage("which device?", f"give NAME; {site} has: {names}")
        return found[0]
    for each in found:
        if each.name == name:
            return each
    raise _usage(f"no [[mcu]] {name} in {site}", f"it has: {names}")


def _given(device: Device, given: Mapping[str, Any]) -> Device:
    if given.get("key"):
        device = device.with_(key=given["key"])
    if given.get("board"):
        device = device.with_(board=given["board"])
    try:
        if given.get("slot_size"):
            device = device.with_(slot_bytes=size_bytes(given["slot_size"]))
        if given.get("window"):
            device = device.with_(window_s=parse_duration(given["window"]) / 1e9)
    except (AttributeError, KeyError) as e:
        raise _usage(f"--slot-size: {given['slot_size']!a:.40} is no size", 'such as "256KiB"') from e
    except DurationError as e:
        raise _usage(f"--window: {e.message}", e.hint) from e
    return device


def listed(site: Path) -> dict[str, Any]:
    """The document of `mcu list`."""
    found = all_devices(site)
    last = mcu_journal.last(found[0].data_dir) if found else {}
    return {
        "mcus": [
            {"name": d.name, "port": d.port, "there": Path(d.port).exists(), "source": d.source or None,
             "board": d.board, "group": d.group, "health": d.health, "last": last.get(d.name)}
            for d in found
        ]
    }  # fmt: skip


def pinged(device: Device, count: int) -> dict[str, Any]:
    """The document of `mcu ping`."""
    lease, took = Lease(device), []
    try:
        link = lease.take()
        for number in range(count):
            begun_s = time.perf_counter()
            try:
                answer = link.ask(smp.WRITE, smp.OS, smp.ECHO, {"d": f"ping {number}"}, timeout_s=1.0, tries=1)
            except LinkDown:
                continue
            if answer.body.get("r") == f"ping {number}":
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


def _usage(message: str, hint: str) -> Fatal:
    return Fatal(message, hint=hint, exit_code=ExitCode.CONFIGURATION)
