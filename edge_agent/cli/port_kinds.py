"""What a port was recognised as, and the table of a site file that would read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import msgspec

from edge_agent.errors import Rejected, Retryable
from edge_agent.links import probe
from edge_agent.links.lines import checker
from edge_agent.links.modbus import LIBRARY
from edge_agent.links.ports import FoundPort
from edge_agent.links.serial import Framing
from edge_agent.sources.ndjson import decode_object
from edge_agent.sources.nmea import Nmea, kind_of, place_problem, places_of
from firmware_bridge.events import Device

LISTEN_BAUDS = (115_200, 9600, 4800)
HELLO_BAUDS = (921_600, 115_200)
MODBUS_LINES: tuple[tuple[int, Framing], ...] = ((19_200, "8E1"), (19_200, "8N1"), (9600, "8N1"))
MODBUS_ADDRESSES = range(1, 11)
_LINES = 4
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_]+")
_GENERIC = {"usb", "if00", "port0", "dev", "serial", "by", "id", "tty"}


class Recognised(msgspec.Struct, frozen=True):
    """`kind` of a source, what was heard in words, and the table to put into the site file."""

    kind: str
    heard: str
    table: str


def recognise(port: FoundPort, seconds: float, *, quiet: bool, say: Callable[[str], None]) -> Recognised | None:
    """None where nothing known answers within about `seconds`. `quiet`: only listens. Raises Rejected for what is no
    serial port, Retryable when it cannot be had at all; settings that it does not know are passed over."""
    probe.check_port(port.device)
    steps = list(_steps(port, quiet=quiet))
    problems: list[Retryable] = []
    for what, step in steps:
        say(what)
        try:
            found = step(seconds / len(steps))
        except Retryable as e:
            problems.append(e)
            continue
        if found is not None:
            return found
    if len(problems) == len(steps):
        raise problems[0]
    return None


def not_asked() -> str:
    """What a scan leaves out on this installation, and how to have it; empty where it leaves out nothing."""
    module, extra = LIBRARY
    return "" if find_spec(module) else f"Modbus not asked: pip install 'edge-agent[{extra}]'"


def _steps(port: FoundPort, *, quiet: bool) -> Iterator[tuple[str, Callable[[float], Recognised | None]]]:
    for baud in LISTEN_BAUDS:
        yield f"listening at {baud}", partial(_heard, port, baud)
    if quiet:
        return
    for baud in HELLO_BAUDS:
        yield f"bridge hello at {baud}", partial(_greeted, port, baud)
    for baud, framing in MODBUS_LINES if not not_asked() else ():
        yield f"Modbus at {baud} {framing}", partial(_asked, port, baud, framing)


def _heard(port: FoundPort, baud: int, seconds: float) -> Recognised | None:
    lines = probe.listen(port.device, baud, seconds, lambda some: len(some) >= _LINES)
    sentences = [body for line in lines if (body := _sentence(line))]
    if sentences:
        return _nmea(port, baud, sentences)
    objects = [found for line in lines if (found := _object(line))]
    return _ndjson(port, baud, objects[-1]) if objects else None


def _sentence(line: bytes) -> bytes:
    """Without its checksum; empty where it is none, or has a wrong one."""
    try:
        return checker("xor")(line) if line[:1] in (b"$", b"!") else b""
    except Rejected:
        return b""


def _object(line: bytes) -> dict[str, Any]:
    try:
        return decode_object(line)
    except Rejected:
        return {}


def _nmea(port: FoundPort, baud: int, sentences: list[bytes]) -> Recognised:
    names = sorted({s[1:].partition(b",")[0].decode("ascii", "replace") for s in sentences})
    values: dict[str, str] = {}
    for name in names:
        for place in places_of(name):
            said = Nmea({"x": place}).decode(next(s for s in sentences if s[1:].startswith(name.encode())))
            if kind_of(place) == "double" and not place_problem(place) and said and said.get("x") is not None:
                values.setdefault(_name(place.partition(".")[2]), place)
    listed = ", ".join(f'{field} = "{place}"' for field, place in values.items())
    lines = ['format = "nmea"', f"baud = {baud}", f"values = {{ {listed} }}"]
    if not values:
        lines[-1] = "# values = { field = \"DPT.depth\" }: nothing in these sentences is a number"
    return Recognised("serial_lines", f"NMEA 0183: {', '.join(names)}", _table(port, "serial_lines", lines))


def _ndjson(port: FoundPort, baud: int, found: dict[str, Any]) -> Recognised:
    fields = {_name(name): _field_type(value) for name, value in found.items() if _field_type(value)}
    lines = ['format = "ndjson"', f"baud = {baud}", "[source.fields]"]
    lines += [f'{name} = {{ type = "{kind}" }}' for name, kind in fields.items()]
    return Recognised("serial_lines", f"JSON lines: {', '.join(found)}", _table(port, "serial_lines", lines))


def _field_type(value: object) -> str:
    kinds: dict[type, str] = {bool: "bool", int: "double", float: "double", str: "string"}
    return kinds.get(type(value), "")


def _greeted(port: FoundPort, baud: int, seconds: float) -> Recognised | None:
    device = probe.greet(port.device, baud, seconds)
    return None if device is None else _bridge(port, baud, device)


def _bridge(port: FoundPort, baud: int, device: Device) -> Recognised:
    streams = ", ".join(f"{s.name} [{s.unit}]" for s in device.streams if s)
    actuators = [a.name for a in device.actuators if a]
    table = _table(port, "serial_bridge", [f"baud = {baud}", f"# streams: {streams}"])
    if actuators:
        name = _port_name(port)
        table += f'\n[[actuator]]\nname = "{name}_out"\nkind = "bridge"\ndevice = "{port.device}"\n'
        table += f"# sets: {', '.join(actuators)}\n"
    return Recognised("serial_bridge", f"firmware bridge {device.id} {device.firmware}: {streams}", table)


def _asked(port: FoundPort, baud: int, framing: Framing, seconds: float) -> Recognised | None:
    address = probe.ask_slaves(port.device, baud, framing, MODBUS_ADDRESSES, seconds)
    if address is None:
        return None
    lines = [
        f"baud = {baud}", f'framing = "{framing}"', "[[source.poll]]", f"slave = {address}",
        "[source.poll.registers]", 'value = { address = 0, type = "u16" }  # see the manual of the slave',
    ]  # fmt: skip
    return Recognised("modbus", f"Modbus slave {address}", _table(port, "modbus", lines))


def _table(port: FoundPort, kind: str, lines: list[str]) -> str:
    head = ["[[source]]", f'name = "{_port_name(port)}"', f'kind = "{kind}"', f'device = "{port.device}"']
    return "\n".join([*head, *lines]) + "\n"


def _port_name(port: FoundPort) -> str:
    words = [w for w in _name(port.device.rpartition("/")[2]).split("_") if w and w not in _GENERIC]
    return ("_".join(words) if words and words[0][0].isalpha() else "_".join(["port", *words]))[:40]


def _name(text: str) -> str:
    """Fit for a name in a site file."""
    name = _NOT_IN_A_NAME.sub("_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"f_{name}"
