"""`edge-agent ports scan`: which serial devices there are, who holds them, and what speaks there."""

from __future__ import annotations

import sys
from typing import Any

import click

from edge_agent.cli import show
from edge_agent.errors import ExitCode


@click.group("ports", cls=show.Group)
def command() -> None:
    """Find what is plugged in."""


@command.command("scan")
@click.argument("ports", nargs=-1, metavar="[PORT]...")
@click.option("--seconds", type=click.FloatRange(0.5, 120), default=10.0, show_default=True, help="For each port.")
@click.option("--listen-only", is_flag=True, help="Send nothing: recognises what talks by itself.")
@show.json_option
def scan(ports: tuple[str, ...], seconds: float, listen_only: bool, as_json: bool) -> None:
    """Name the serial devices, say who holds each, and suggest a source for what is recognised.

    A port that somebody holds is not touched. A free one is listened to (NMEA 0183, JSON lines), then asked for a
    firmware bridge, then for Modbus addresses 1 to 10; where a byte too many could do harm, use --listen-only.

    Exit codes: 0 done, also when nothing was found; 1 a PORT could not be opened; 2 wrong usage, or a PORT that is no
    serial device.
    """
    from edge_agent.links.ports import find_ports

    found = find_ports(ports)
    results = []
    for i, port in enumerate(found, 1):

        def say(what: str, at: str = f"{i}/{len(found)} {port.device}") -> None:
            click.echo(f"{show.safe(at)}: {what}", err=True)

        result = _look(port, seconds, listen_only, say)
        results.append(result)
        if not as_json:
            _show(result)
    if as_json:
        show.echo_json({"ports": results})
    elif not results:
        click.echo("no serial devices: is anything plugged in? name one: edge-agent ports scan /dev/ttyUSB0")
    if any(result["not_a_port"] for result in results):
        sys.exit(ExitCode.CONFIGURATION)
    if ports and any(result["problem"] for result in results):
        sys.exit(ExitCode.FAILURE)


def _look(port: Any, seconds: float, listen_only: bool, say: Any) -> dict[str, Any]:
    """One port as a JSON object."""
    from edge_agent.cli.port_kinds import not_asked, recognise
    from edge_agent.errors import EdgeError, Rejected

    out = {
        "device": port.device, "path": port.path, "held_by": list(port.held_by),
        "kind": "", "heard": "", "table": "", "problem": "", "not_asked": "", "not_a_port": False,
    }  # fmt: skip
    if port.held_by:
        return out
    try:
        found = recognise(port, seconds, quiet=listen_only, say=say)
    except EdgeError as e:
        return out | {"problem": str(e), "not_a_port": isinstance(e, Rejected)}
    if found is None:
        return out | {"not_asked": "" if listen_only else not_asked()}
    return out | {"kind": found.kind, "heard": found.heard, "table": found.table}


def _show(result: dict[str, Any]) -> None:
    if result["problem"]:
        click.echo(show.safe(result["problem"]))  # which names the device
        return
    leads = f" ({show.safe(result['path'])})" if result["path"] != result["device"] else ""
    click.echo(f"{show.safe(result['device'])}{leads}: {show.safe(_verdict(result))}")
    for line in result["table"].splitlines():
        click.echo(f"    {show.safe(line)}")


def _verdict(result: dict[str, Any]) -> str:
    if result["held_by"]:
        return f"held by {', '.join(result['held_by'])}"
    return str(result["heard"] or "; ".join(filter(None, ("nothing known answers", result["not_asked"]))))
