"""`edge-agent mcu flash`: one device or several, with progress, history and the agent told; confirm and rollback."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_agent import mcu_history
from edge_agent.cli import mcu_window, show
from edge_agent.cli.mcu_access import Lease, failure
from edge_agent.cli.mcu_devices import Device
from edge_agent.errors import ExitCode, Fatal
from firmware_bridge import flash as flow
from firmware_bridge.errors import BridgeError
from firmware_bridge.image import Image, ImageRefused, check_signature, read_image
from firmware_bridge.update import Progress

_REPORT_S = 1.0
_BAR = 24
_A_CHUNK = 1024
"""Less than this at the device is what the first request brought there."""


def flash(devices: list[Device], path: Path, as_json: bool) -> dict[str, Any]:
    """The document of `mcu flash`: one after the other, none after one that failed. Raises Fatal, before a byte is
    sent, for an image that no device may have."""
    image = _checked(path, devices)
    results: list[dict[str, Any]] = []
    for device in devices:
        if results and not results[-1]["ok"]:
            reason = f"not begun: {results[-1]['mcu']} failed"
            results.append({"ok": False, "mcu": device.name, "end": "not_begun", "reason": reason, "hint": ""})
            continue
        results.append(_flash(device, image, path))
        if not as_json:
            _say(results[-1])
    ok = all(r["ok"] for r in results)
    return {"ok": ok, "image": str(path), "version": image.version_text, "mcus": results}


def _checked(path: Path, devices: list[Device]) -> Image:
    """What can be seen without a device, for all of them first."""
    try:
        image = read_image(path)
        for key in dict.fromkeys(d.key for d in devices):
            if key is None:
                hint = "add key to its [[mcu]] table, or give --key: the public key (PEM)"
                raise Fatal("no key to check the image with", hint=hint, exit_code=ExitCode.CONFIGURATION)
            check_signature(image, key, str(path))
    except ImageRefused as e:
        for device in devices:
            _note(device, "flash", "refused", image=str(path), reason=str(e))
        raise Fatal(str(e), hint=e.hint, exit_code=ExitCode.FAILURE) from e
    return image


def _flash(device: Device, image: Image, path: Path) -> dict[str, Any]:
    sha = hashlib.sha256(image.data).hexdigest()
    facts = {"image": str(path), "sha256": sha, "version": image.version_text}
    _note(device, "flash", "began", **facts)
    lease = Lease(device, update=True, version=image.version_text)
    told = _Teller(device, lease)
    target = flow.Target(device.name, device.board, device.slot_bytes, device.window_s)
    update = flow.Flash(
        target, image, str(path), lease, told.tell, lambda window_s: mcu_window.well(device, lease, window_s)
    )
    try:
        outcome = update.run()
    except ImageRefused as e:
        return _ended(device, lease, facts, flow.End.NOT_BOOTED, "refused", update.was, str(e), e.hint)
    except flow.Pending as e:
        return _ended(device, lease, facts, flow.End.NOT_BOOTED, "refused", update.was, str(e), e.hint)
    except BridgeError as e:
        return _ended(device, lease, facts, flow.End.UNCERTAIN, "failed", update.was, str(e), e.hint)
    except Fatal as e:
        return _ended(device, lease, facts, flow.End.UNCERTAIN, "refused", update.was, e.message, e.hint)
    except KeyboardInterrupt:
        hint = "flash again goes on where it was"
        _ended(device, lease, facts, flow.End.UNCERTAIN, "failed", update.was, "interrupted by hand", hint)
        raise
    finally:
        told.close()
    return _ended(device, lease, facts, outcome.end, outcome.end, outcome.was, outcome.reason, outcome.hint)


def _ended(
    device: Device, lease: Lease, facts: dict[str, str], end: flow.End, said: str, was: str, reason: str, hint: str
) -> dict[str, Any]:
    lease.end(said, reason)
    _note(device, "flash", said, **facts, was=was, reason=reason)
    ok = end is flow.End.CONFIRMED
    return {"ok": ok, "mcu": device.name, "end": str(said), "version": facts["version"], "was": was,
            "reason": reason, "hint": hint}  # fmt: skip


def _say(result: dict[str, Any]) -> None:
    if result["ok"]:
        click.echo(f"{show.mark(True)} {result['mcu']}: {result['was']} -> {result['version']}, confirmed")
        return
    hint = f"; {result['hint']}" if result["hint"] else ""
    click.echo(f"{show.mark(False)} {result['mcu']}: {result['end']}: {show.safe(result['reason'] + hint)}")


def confirm(device: Device) -> dict[str, Any]:
    """The document of `mcu confirm`."""
    return _settled(device, "confirm", flow.keep)


def roll_back(device: Device) -> dict[str, Any]:
    """The document of `mcu rollback`."""
    return _settled(device, "rollback", flow.roll_back)


def _settled(device: Device, do: str, way: Callable[[Lease], flow.Outcome]) -> dict[str, Any]:
    lease = Lease(device)
    try:
        outcome = way(lease)
    except BridgeError as e:
        _note(device, do, "refused", reason=str(e))
        raise failure(e) from e
    finally:
        lease.end("looked")
    _note(device, do, outcome.end, version=outcome.version, was=outcome.was, reason=outcome.reason)
    ok = outcome.end in (flow.End.CONFIRMED, flow.End.REVERTED)
    return {"ok": ok, "mcu": device.name, "end": str(outcome.end), "version": outcome.version, "was": outcome.was,
            "reason": outcome.reason, "hint": outcome.hint}  # fmt: skip


def _note(device: Device, do: str, end: str, **facts: str) -> None:
    """In the history, which must not be the reason why a device stays half updated."""
    try:
        mcu_history.write(device.data_dir, {"mcu": device.name, "do": do, "end": str(end), **facts})
    except OSError as e:
        click.echo(f"not on record: {e.filename}: {e.strerror}", err=True)


class _Teller:
    """Tells people (a bar on stderr) and the agent how far it is."""

    def __init__(self, device: Device, lease: Lease) -> None:
        self._name = device.name
        self._lease = lease
        self._bar = sys.stderr.isatty()
        self._stage: flow.Stage | None = None
        self._began: tuple[float, int] | None = None
        self._told_s = 0.0
        self._drawn = False

    def tell(self, stage: flow.Stage, progress: Progress | None) -> None:
        now_s = time.monotonic()
        new, self._stage = stage is not self._stage, stage
        if new or now_s - self._told_s >= _REPORT_S:
            self._told_s = now_s
            self._lease.report(stage, progress.offset if progress else 0, progress.size if progress else 0)
        if progress is None:
            self.close()
            click.echo(f"{show.safe(self._name)}: {_STAGES[stage]}", err=True)
            return
        if self._began is None and progress.offset:
            self._began = now_s, progress.offset
            if progress.began_at > _A_CHUNK:
                click.echo(f"{self._name}: goes on at {progress.began_at:,} of {progress.size:,} bytes", err=True)
        if self._bar:
            self._drawn = True
            click.echo(f"\r{self.line(progress, now_s)}", nl=False, err=True)
        elif new or progress.offset == progress.size:
            click.echo(self.line(progress, now_s), err=True)

    def line(self, progress: Progress, now_s: float) -> str:
        began_s, began_at = self._began or (now_s, 0)
        rate = (progress.offset - began_at) / max(now_s - began_s, 0.001)
        done = progress.offset / progress.size
        left = f"{show.age((progress.size - progress.offset) / rate)} left" if rate else "…"
        bar = ("#" * round(_BAR * done)).ljust(_BAR, ".")
        return f"upload [{bar}] {100 * done:3.0f} %  {show.size(rate)}/s  {left}".ljust(76)[:79]

    def close(self) -> None:
        """Ends the bar's line."""
        if self._drawn:
            self._drawn = False
            click.echo(err=True)


_STAGES = {
    flow.Stage.CHECK: "image checked, asking the device",
    flow.Stage.UPLOAD: "upload",
    flow.Stage.BOOT: "boots the image on trial",
    flow.Stage.WATCH: "health window",
    flow.Stage.CONFIRM: "confirms it",
    flow.Stage.REVERT: "not well: goes back",
}
