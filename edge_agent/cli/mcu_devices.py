"""Which microcontrollers a site has, and which a command is for. Needs nothing of SMP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent import mcu_history
from edge_agent.config.load import load_site
from edge_agent.config.site import McuConfig, SiteConfig, size_bytes
from edge_agent.drivers import DriverConfigs
from edge_agent.durations import DurationError, parse_duration
from edge_agent.errors import ExitCode, Fatal


@dataclass(frozen=True, slots=True)
class Device:
    """One microcontroller, as the site file or the command line names it. `socket`, `data_dir` None: without a
    site, so nobody to ask and nowhere to write it down. `kind` of its source, empty without one."""

    name: str
    port: str
    baud: int
    socket: Path | None = None
    data_dir: Path | None = None
    source: str = ""
    kind: str = ""
    key: Path | None = None
    board: str = ""
    group: str = "all"
    slot_bytes: int | None = None
    health: str = "answers"
    window_s: float = 30.0

    def with_(self, **changes: Any) -> Device:
        return replace(self, **changes)


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
    last = _last(found[0].data_dir) if found else {}
    return {
        "mcus": [
            {"name": d.name, "port": d.port, "there": Path(d.port).exists(), "source": d.source or None,
             "board": d.board, "group": d.group, "health": d.health, "last": last.get(d.name)}
            for d in found
        ]
    }  # fmt: skip


def _last(data_dir: Path | None) -> dict[str, dict[str, Any]]:
    try:
        return mcu_history.last(data_dir) if data_dir else {}
    except OSError as e:
        hint = "who may read it? ask as root, or as the agent's user"
        raise Fatal(f"{e.filename or data_dir}: {e.strerror}", hint=hint, exit_code=ExitCode.FAILURE) from e


def _usage(message: str, hint: str) -> Fatal:
    return Fatal(message, hint=hint, exit_code=ExitCode.CONFIGURATION)
