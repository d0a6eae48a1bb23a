"""`edge-agent mcu watch` and `set`: a device on the firmware bridge, through the agent or, to look, without one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click

from edge_agent.cli import agent_socket, show
from edge_agent.cli.mcu_devices import Device
from edge_agent.errors import ExitCode, Fatal

_EVERY_S = 1.0
_RESULT_S = 10.0


def watch(device: Device, seconds: float | None, as_json: bool) -> bool:
    """Prints the newest values once a second; whether there ever were some."""
    _must_be_bridge(device)
    seen = False
    with suppress(KeyboardInterrupt):
        for values in _values(device, seconds):
            seen = seen or bool(values)
            if as_json:
                show.echo_json({"mcu": device.name, "values": values})
            elif not values:
                click.echo(f"{device.name}: no values yet")
            else:
                told = ", ".join(f"{n} {v['value']}{' ' + v['unit'] if v['unit'] else ''}" for n, v in values.items())
                click.echo(show.safe(told))
    return seen


def _values(device: Device, seconds: float | None) -> Iterator[dict[str, Any]]:
    assert device.socket is not None
    end_s = time.monotonic() + (seconds or 1e12)
    try:
        agent_socket.ask_agent(device.socket, "ping")
    except agent_socket.NoAnswer:
        yield from _own(device, end_s)
        return
    while True:
        yield agent_socket.ask_agent(device.socket, "mcu_values", {"mcu": device.name})
        if time.monotonic() + _EVERY_S > end_s:
            return
        time.sleep(_EVERY_S)


def _own(device: Device, end_s: float) -> Iterator[dict[str, Any]]:
    """Over a session of our own. Nothing is acknowledged, so the device keeps it for the agent."""
    from firmware_bridge.events import Batch
    from firmware_bridge.events import Device as Said
    from firmware_bridge.link import Link
    from firmware_bridge.session import Session

    session = Session(secrets.randbits(32) or 1, None, None)
    link = Link(device.port, device.baud, session)
    newest: dict[int, Any] = {}
    due_s = time.monotonic() + _EVERY_S
    try:
        while time.monotonic() < end_s:
            for event in link.step(min(_EVERY_S, max(end_s - time.monotonic(), 0.0))):
                if isinstance(event, Batch):
                    newest |= dict(zip(event.streams, event.values, strict=True))
            if link.last_error is not None and not link.connected:
                raise Fatal(str(link.last_error), hint=link.last_error.hint, exit_code=ExitCode.FAILURE)
            if time.monotonic() >= min(due_s, end_s):
                due_s = time.monotonic() + _EVERY_S
                said: Said | None = session.device
                streams = said.streams if said else ()
                yield {
                    s.name: {"value": newest[i], "unit": s.unit} for i, s in enumerate(streams) if s and i in newest
                }
    finally:
        link.release()


def set_output(device: Device, target: str, text: str) -> dict[str, Any]:
    """The document of `mcu set`. Raises Fatal."""
    _must_be_bridge(device)
    assert device.socket is not None
    value = _value(text)
    asked = {"mcu": device.name, "target": target, "value": value}
    try:
        number = agent_socket.ask_agent(device.socket, "mcu_set", asked)["id"]
        end_s = time.monotonic() + _RESULT_S
        while True:
            result = agent_socket.ask_agent(device.socket, "mcu_set_result", {"mcu": device.name, "id": number})
            if not result.get("waiting"):
                if result.get("off_record"):
                    click.echo(f"not on record: {show.safe(result['off_record'])}", err=True)
                return {"mcu": device.name, "target": target, "value": value, **result}
            if time.monotonic() > end_s:
                return {"ok": False, **asked, "reason": "the agent does not carry it out", "hint": "try again"}
            time.sleep(0.05)
    except agent_socket.NoAnswer as e:
        raise Fatal(e.message, hint=e.hint, exit_code=ExitCode.NOT_THERE) from e


def _value(text: str) -> bool | int | float:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text) if {".", "e", "E"} & set(text) else int(text)
    except ValueError as e:
        hint = "give a number, true or false"
        raise Fatal(f"{text!a:.40} is no value", hint=hint, exit_code=ExitCode.CONFIGURATION) from e


def _must_be_bridge(device: Device) -> None:
    if device.kind != "serial_bridge":
        hint = "give its [[mcu]] table a source of kind serial_bridge"
        raise Fatal(f"{device.name} is not on the firmware bridge", hint=hint, exit_code=ExitCode.CONFIGURATION)
