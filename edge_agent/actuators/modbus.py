"""Registers and coils of Modbus slaves, on a bus that a source may share.

    [[actuator]]
    name = "drive_out"
    kind = "modbus"
    device = "/dev/serial/by-id/usb-FTDI_RS485_0042-if00-port0"    # or host = "10.0.0.5"
    baud = 19200
    [actuator.registers]
    speed = { slave = 1, address = 10, type = "u16", scale = 0.1 }
    pump = { slave = 1, address = 0, table = "coil", type = "bool" }

`drive_out.speed = 45.5` writes 455 and reads it back; done means that the slave then holds what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration, Port
from edge_agent.durations import parse_duration
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.modbus import LIBRARY, ModbusSettings
from edge_agent.links.modbus_values import Register, Slave, decode, encode
from edge_agent.links.serial import Baud, Framing
from edge_agent.ports import Clock, Context
from edge_agent.types import Act, Receipt

if TYPE_CHECKING:
    from edge_agent.links.modbus_bus import ModbusPort


class Output(Register, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A register or coil that may be written."""

    slave: Slave

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table not in ("holding", "coil") or self.bit is not None:
            raise ValueError("only whole holding registers and coils can be written")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `modbus` actuator; those of the bus must equal those of a source on the same bus."""

    library: ClassVar[tuple[str, str]] = LIBRARY
    """No key: what has to be installed, and the extra that brings it."""
    registers: Annotated[dict[str, Output], Meta(min_length=1)]
    """By target: what `press.speed` sets is `speed`."""
    device: str = ""
    """RTU: the port."""
    baud: Baud = 19_200
    """RTU: bits per second."""
    framing: Framing = "8N1"
    """RTU: data bits, parity, stop bits."""
    host: str = ""
    """TCP: instead of `device`."""
    port: Port = 502
    """TCP."""
    timeout: Annotated[Duration, Meta(extra={"shortest": "10ms", "longest": "10s"})] = "300ms"
    """For each answer."""

    def __post_init__(self) -> None:
        if bool(self.device) == bool(self.host):
            raise ValueError("needs either `device` (RTU) or `host` (TCP)")


def open(config: Config, context: Context) -> ModbusActuator:  # noqa: A001 - the seam's name
    """Opens or joins the bus. Raises Retryable, or Rejected when its users disagree."""
    settings = ModbusSettings(
        config.device, config.baud, config.framing, config.host, config.port, parse_duration(config.timeout) / 1e9
    )
    return ModbusActuator(config, context.clock, context.links.modbus(settings))


class ModbusActuator:
    """ports.Actuator."""

    def __init__(self, config: Config, clock: Clock, port: ModbusPort) -> None:
        self._registers = config.registers
        self._clock = clock
        self._port = port

    def apply(self, action: Act, timeout_s: float) -> Receipt:  # noqa: ARG002 - the bus has its own for each answer
        output = self._registers.get(action.target)
        if output is None:
            known = ", ".join(self._registers)
            raise Rejected(f"{self._port.where}: no register is called {action.target}", hint=f"known: {known}")
        words = encode(output, action.value)
        self._port.write(output.slave, output.table, output.address, words)
        found = self._port.read(output.slave, output.table, output.address, output.size)
        if found != words:
            raise Retryable(
                f"{self._port.where}: {action.target} reads back {decode(output, found)!a}, not {action.value!a:.80}",
                hint="is the output blocked, or does the slave limit it?",
            )
        return Receipt(action.id, action.actuator, True, self._clock.now(), read_back=decode(output, found))

    def close(self) -> None:
        self._port.close()
