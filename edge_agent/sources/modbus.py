"""Modbus RTU or TCP: slaves asked in turn, each group of registers one reading.

    [[source]]
    name = "drive"
    kind = "modbus"
    device = "/dev/serial/by-id/usb-FTDI_RS485_0042-if00-port0"    # or host = "10.0.0.5"
    baud = 19200
    [[source.poll]]
    slave = 1
    every = "1s"
    [source.poll.registers]
    temp = { address = 0, type = "i16", scale = 0.1, unit = "Cel" }
    flow = { address = 2, type = "f32", word_order = "little" }
    fault = { address = 5, table = "coil", type = "bool" }

A slave that does not answer, or refuses, raises the alert `health/drive.slave1` and is left alone for a second, then
for twice as long, up to 30 s; the others are asked as before. When none is left that answers, the source is down.
Registers that touch are asked together, as long as they are of one table.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration, Name, Port
from edge_agent.durations import parse_duration
from edge_agent.errors import Retryable
from edge_agent.links.modbus import LIBRARY, ModbusSettings, SlaveRefused, SlaveSilent
from edge_agent.links.modbus_values import Register, Slave, Table, decode
from edge_agent.links.serial import Baud, Framing
from edge_agent.ports import Context, FieldSpec, Item
from edge_agent.types import HealthChange, Quality, Reading, Value

if TYPE_CHECKING:
    from edge_agent.links.modbus_bus import ModbusPort

_REGISTERS = 125
_FIRST_REST_NS = 1_000_000_000
_LONGEST_REST_NS = 30_000_000_000


class Poll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is asked of one slave at a time: one reading."""

    slave: Slave
    registers: Annotated[dict[Name, Register], Meta(min_length=1)]
    every: Annotated[Duration, Meta(extra={"shortest": "10ms", "longest": "1d"})] = "1s"
    stream: Name | None = None
    """Default: the source's name."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `modbus` source."""

    library: ClassVar[tuple[str, str]] = LIBRARY
    """No key: what has to be installed, and the extra that brings it."""
    poll: Annotated[tuple[Poll, ...], Meta(min_length=1)]
    """`[[source.poll]]`: the groups of registers."""
    device: str = ""
    """RTU: the port; a stable name such as `/dev/serial/by-id/…` survives renumbering."""
    baud: Baud = 19_200
    """RTU: bits per second."""
    framing: Framing = "8N1"
    """RTU: data bits, parity, stop bits; the standard's own is 8E1."""
    host: str = ""
    """TCP: instead of `device`."""
    port: Port = 502
    """TCP."""
    timeout: Annotated[Duration, Meta(extra={"shortest": "10ms", "longest": "10s"})] = "300ms"
    """For each answer."""

    def __post_init__(self) -> None:
        if bool(self.device) == bool(self.host):
            raise ValueError("needs either `device` (RTU) or `host` (TCP)")


def fields(config: Config) -> dict[str, FieldSpec]:
    """The register map fixes them."""
    return {
        f"{poll.stream}.{name}" if poll.stream else name: FieldSpec(unit=register.unit, type=register.kind)
        for poll in config.poll
        for name, register in poll.registers.items()
    }


def open(config: Config, context: Context) -> ModbusSource:  # noqa: A001 - the seam's name
    """Opens or joins the bus. Raises Retryable, or Rejected when its users disagree."""
    settings = ModbusSettings(
        config.device, config.baud, config.framing, config.host, config.port, parse_duration(config.timeout) / 1e9
    )
    return ModbusSource(config, context, context.links.modbus(settings))


class _Slave:
    """Whether a slave answers, and when it is asked again."""

    def __init__(self) -> None:
        self.up: bool | None = None
        self.rest_ns = _FIRST_REST_NS
        self.until_ns = 0


class ModbusSource:
    """ports.Source: at most one group is asked in a `read`."""

    def __init__(self, config: Config, context: Context, port: ModbusPort) -> None:
        self._polls = config.poll
        self._context = context
        self._port = port
        self._closed = Event()
        self._slaves = {poll.slave: _Slave() for poll in config.poll}
        now_ns = context.clock.mono_ns()
        self._due = [(now_ns, i) for i in range(len(config.poll))]

    def read(self, timeout_s: float) -> Sequence[Item]:
        now_ns = self._context.clock.mono_ns()
        due_ns, i = self._due[0]
        if due_ns > now_ns:
            self._closed.wait(min(timeout_s, (due_ns - now_ns) / 1e9))
            return ()
        poll = self._polls[i]
        every_ns = parse_duration(poll.every)
        # late by more than a whole period: what was missed is not made up for
        heapq.heapreplace(self._due, (max(due_ns + every_ns, now_ns), i))
        slave = self._slaves[poll.slave]
        return () if slave.until_ns > now_ns else self._ask(poll, slave)

    def close(self) -> None:
        self._closed.set()
        self._port.close()

    def _ask(self, poll: Poll, slave: _Slave) -> list[Item]:
        try:
            words = self._words(poll)
        except (SlaveSilent, SlaveRefused) as e:
            return self._rests(poll.slave, slave, e)
        now = self._context.clock.now()
        values: dict[str, Value | None] = {n: decode(r, words[n]) for n, r in poll.registers.items()}
        bad = {name: Quality.BAD for name, value in values.items() if value is None}
        items: list[Item] = [Reading(poll.stream or self._context.name, now, values, bad or None)]
        if slave.up is not True:
            slave.up, slave.rest_ns = True, _FIRST_REST_NS
            items.append(HealthChange(f"{self._context.name}.slave{poll.slave}", True, now))
        return items

    def _words(self, poll: Poll) -> dict[str, list[int]]:
        """By register."""
        out: dict[str, list[int]] = {}
        for table, span in spans(poll.registers):
            first = span[0][1].address
            end = max(r.address + r.size for _, r in span)
            words = self._port.read(poll.slave, table, first, end - first)
            for name, r in span:
                out[name] = words[r.address - first : r.address - first + r.size]
        return out

    def _rests(self, number: int, slave: _Slave, error: SlaveSilent | SlaveRefused) -> list[Item]:
        self._context.counters.quarantine("slave_silent" if isinstance(error, SlaveSilent) else "slave_refused",
                                          error.message.encode())  # fmt: skip
        was_up, slave.up = slave.up, False
        now = self._context.clock.now()
        slave.until_ns = now.mono_ns + slave.rest_ns
        slave.rest_ns = min(slave.rest_ns * 2, _LONGEST_REST_NS)
        if not any(s.up is not False for s in self._slaves.values()):
            raise Retryable(f"{self._port.where}: no slave answers; the last: {error.message}", hint=error.hint)
        if was_up is False:
            return []
        return [HealthChange(f"{self._context.name}.slave{number}", False, now, str(error), alert=True)]


def spans(registers: dict[str, Register]) -> list[tuple[Table, list[tuple[str, Register]]]]:
    """Registers that touch or overlap, by table, in requests that the standard allows."""
    out: list[tuple[Table, list[tuple[str, Register]]]] = []
    end = -1
    for name, r in sorted(registers.items(), key=lambda item: (item[1].table, item[1].address)):
        fits = out and out[-1][0] == r.table and r.address <= end
        if fits and r.address + r.size - out[-1][1][0][1].address <= _REGISTERS:
            out[-1][1].append((name, r))
            end = max(end, r.address + r.size)
        else:
            out.append((r.table, [(name, r)]))
            end = r.address + r.size
    return out
