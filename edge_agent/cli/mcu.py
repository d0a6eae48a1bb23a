"""`edge-agent mcu`: microcontrollers of a site: look at one, set an output, update its firmware."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.extras import needs_extra
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

_SITE = "/etc/edge-agent/site.toml"
_NICE = 10

_site = click.option(
    "--site", type=show.PATH, default=_SITE, show_default=True, help="The site file with the [[mcu]] tables."
)
_port = click.option("--port", help="Look at this port, without a site file.")
_baud = click.option("--baud", type=click.IntRange(50, 4_000_000), default=115_200, help="Of --port.")
_name = click.argument("name", required=False)


def _one(command: Callable[..., None]) -> Callable[..., None]:
    """What every command on one device takes."""
    for option in (show.json_option, _baud, _port, _site, _name):
        command = option(command)
    return command


@click.group("mcu", cls=show.Group)
def command() -> None:
    """Look at microcontrollers, set their outputs, update their firmware.

    NAME is that of an [[mcu]] table of the site file; it may be left out where there is one only. While the agent
    runs, it lends the port and takes it back: the sensors of that device pause meanwhile, all others go on.

    Exit codes: 0 done; 1 no; 2 wrong usage or site file.
    """


@command.command("list")
@_site
@show.json_option
def list_(site: Path, as_json: bool) -> None:
    """List the microcontrollers of the site, and how the last update of each ended. Opens no port.

    Exit codes: 0 done; 2 wrong usage or site file.
    """
    from edge_agent.cli.mcu_devices import listed

    document = listed(site)
    if as_json:
        show.echo_json(document)
        return
    for mcu in document["mcus"]:
        last = mcu["last"]
        cut = " (cut off, or under way)" if last and last["end"] == "began" else ""
        told = f"; last {last['do']}: {last['end']}{cut}, {last['t']}" if last else ""
        board = mcu["board"] or "any board"
        click.echo(f"{show.safe(mcu['name'])}  {show.safe(board)}, group {mcu['group']}{show.safe(told)}")
        click.echo(f"    {show.safe(mcu['port'])}{'' if mcu['there'] else '  (not there)'}")


@command.command("ping")
@_one
@click.option("--count", type=click.IntRange(1, 1000), default=4, show_default=True)
def ping(name: str | None, site: Path, port: str | None, baud: int, as_json: bool, count: int) -> None:
    """Send echoes over SMP and say how long they take.

    Exit codes: 0 all came back; 1 one did not, or the port cannot be had; 2 wrong usage or site file.
    """
    _needs_smp()
    from edge_agent.cli import mcu_devices, mcu_look

    document = mcu_look.pinged(mcu_devices.device(site, name, port, baud), count)
    if as_json:
        show.echo_json(document)
    else:
        took = "".join(f" {ms:.1f}" for ms in document["ms"])
        click.echo(f"{show.mark(document['ok'])} {document['answered']} of {count} came back, ms:{took}")
    sys.exit(ExitCode.OK if document["ok"] else ExitCode.FAILURE)


@command.command("info")
@_one
def info(name: str | None, site: Path, port: str | None, baud: int, as_json: bool) -> None:
    """Show the images of a device, which runs, and what it takes.

    Exit codes: 0 done; 1 it does not answer, or the port cannot be had; 2 wrong usage or site file.
    """
    _needs_smp()
    from edge_agent.cli import mcu_devices, mcu_look

    document = mcu_look.looked_at(mcu_devices.device(site, name, port, baud))
    if as_json:
        show.echo_json(document)
        return
    for slot in document["slots"]:
        flags = [f for f in ("active", "confirmed", "pending") if slot[f]]
        if slot["active"] and not slot["confirmed"]:
            flags.append("ON TRIAL")
        click.echo(f"slot {slot['slot']}  {show.safe(slot['version'])}  {', '.join(flags) or 'kept'}")
        click.echo(f"    hash {slot['hash'][:16]}…")
    size = show.size(document["slot_bytes"]) if document["slot_bytes"] else "size unknown"
    click.echo(f"boot loader {show.safe(document['bootloader'] or 'unknown')}, slot 1 {size}")
    click.echo(f"messages up to {document['buffer_bytes']} B")


@command.command("watch")
@click.argument("name", required=False)
@_site
@click.option("--for", "seconds", type=click.FloatRange(0.1, 86_400), help="Seconds; default: until Ctrl-C.")
@show.json_option
def watch(name: str | None, site: Path, seconds: float | None, as_json: bool) -> None:
    """Show the newest values of a device on the firmware bridge, once a second.

    With --json one document a line. Nothing that the device keeps is acknowledged by it.

    Exit codes: 0 done; 1 it gives no values; 2 wrong usage or site file.
    """
    from edge_agent.cli import mcu_bridge, mcu_devices

    seen = mcu_bridge.watch(mcu_devices.device(site, name, None, 0), seconds, as_json)
    sys.exit(ExitCode.OK if seen else ExitCode.FAILURE)


@command.command("set")
@click.argument("target")
@click.argument("value")
@click.argument("name", required=False)
@_site
@show.json_option
def set_(target: str, value: str, name: str | None, site: Path, as_json: bool) -> None:
    """Set the output TARGET of a device on the firmware bridge, and read it back.

    VALUE is a number, or true or false. Refused while a raised rule commands this device. It needs the running
    agent: the device lets go of its outputs when its host goes.

    Exit codes: 0 set and read back; 1 not; 2 wrong usage or site file; 3 no agent answers.
    """
    from edge_agent.cli import mcu_bridge, mcu_devices

    document = mcu_bridge.set_output(mcu_devices.device(site, name, None, 0), target, value)
    _end(document, f"{target} reads back {document.get('read_back')}", as_json)


@command.command("flash")
@click.argument("image", type=show.PATH)
@_one
@click.option("--group", help="All devices of this group, instead of NAME.")
@click.option(
    "--plan", type=click.Choice(["one-then-rest"]), default="one-then-rest", show_default=True,
    expose_value=False,
    help="For --group: one first with its health window, then the rest; stops at the first that fails.",
)  # fmt: skip
@click.option("--key", type=show.PATH, help="Public key (PEM); default: as the site file says.")
@click.option("--board", help="Board that the image must name; default: as the site file says.")
@click.option("--slot-size", help='Of slot 1, such as "256KiB"; default: as site file or device say.')
@click.option("--window", help='Health window, such as "30s"; default: as the site file says.')
def flash(
    image: Path, name: str | None, site: Path, port: str | None, baud: int, as_json: bool, group: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Update the firmware with IMAGE, as imgtool sign has made it.

    Checks signature, board, version and size before a byte is sent; uploads, and goes on where an earlier try was
    cut off; boots the image on trial, watches it for the health window, and confirms it. One that fails goes back by
    itself. firmware_bridge/UPDATE.md has the whole story.

    Exit codes: 0 confirmed; 1 refused, failed or gone back; 2 wrong usage or site file.
    """
    _yield_to_agent()
    _needs_smp()
    from edge_agent.cli import mcu_devices, mcu_flash

    devices = mcu_devices.devices(site, name, port, baud, group, given)
    document = mcu_flash.flash(devices, image, as_json)
    if as_json:
        show.echo_json(document)
    sys.exit(ExitCode.OK if document["ok"] else ExitCode.FAILURE)


@command.command("confirm")
@_one
def confirm(name: str | None, site: Path, port: str | None, baud: int, as_json: bool) -> None:
    """Keep the image that runs on trial.

    Exit codes: 0 confirmed; 1 nothing is on trial, or the device does not answer; 2 wrong usage or site file.
    """
    _needs_smp()
    from edge_agent.cli import mcu_devices, mcu_flash

    document = mcu_flash.confirm(mcu_devices.device(site, name, port, baud))
    _end(document, f"{document['mcu']}: version {document['version']} is confirmed", as_json)


@command.command("rollback")
@_one
def rollback(name: str | None, site: Path, port: str | None, baud: int, as_json: bool) -> None:
    """End the trial of an image: the version of before runs again.

    Exit codes: 0 it runs; 1 nothing is on trial, or the device does not answer; 2 wrong usage or site file.
    """
    _needs_smp()
    from edge_agent.cli import mcu_devices, mcu_flash

    document = mcu_flash.roll_back(mcu_devices.device(site, name, port, baud))
    _end(document, f"{document['mcu']}: version {document['was']} runs again", as_json)


def _yield_to_agent() -> None:
    """Sensors and rules go first, from the imports on. Niceness alone lets a process run on for its slice when
    another wakes up (EEVDF); one of SCHED_IDLE gives way at once, and where it may not be had, niceness stays."""
    os.nice(_NICE)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _needs_smp() -> None:
    for module in ("smp", "imgtool"):
        needs_extra(module, "mcu")


def _end(document: dict[str, Any], said: str, as_json: bool) -> None:
    if as_json:
        show.echo_json(document)
    elif document["ok"]:
        click.echo(f"{show.mark(True)} {show.safe(said)}")
    else:
        hint = f"; {document['hint']}" if document.get("hint") else ""
        click.echo(f"{show.mark(False)} {show.safe(document['reason'] + hint)}")
    sys.exit(ExitCode.OK if document["ok"] else ExitCode.FAILURE)
