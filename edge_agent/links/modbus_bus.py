"""A Modbus RTU or TCP bus with several users: one transaction at a time, whoever asks.

The bus is opened by the first user and closed by the last. A lost bus is Retryable for everyone. A slave that does
not answer, or refuses, is an error of its own (`SlaveSilent`, `SlaveRefused`): the bus is well, its neighbours go on.
"""

from __future__ import annotations

import logging
import os
import termios
from contextlib import suppress
from threading import Lock

from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.holders import holders
from edge_agent.links.modbus import ModbusSettings, SlaveRefused, SlaveSilent
from edge_agent.links.modbus_values import Table

# it logs what it raises
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_GONE = (ConnectionException, OSError, termios.error, TypeError)
_REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value", 4: "device failure", 6: "busy",
             10: "no path behind the gateway", 11: "no answer behind the gateway"}  # fmt: skip


class ModbusBus:
    """The one owner of a bus. Any thread."""

    def __init__(self) -> None:
        self._client: ModbusSerialClient | ModbusTcpClient | None = None
        self._settings: ModbusSettings | None = None
        self._users = 0
        self._path = ""
        self._lock = Lock()

    def join(self, settings: ModbusSettings) -> ModbusPort:
        """Opens or shares the bus. Raises Retryable, or Rejected when its users disagree on how to open it."""
        with self._lock:
            if self._users and settings != self._settings:
                hint = "give all users of one bus the same baud, framing and timeout"
                raise Rejected(f"{settings.where} is open with other settings", hint=hint)
            self._settings = settings
            if self._client is None:
                self._client = _opened(settings)
                self._path = os.path.realpath(settings.device)
            self._users += 1
        return ModbusPort(self, settings)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._drop()

    def read(self, slave: int, table: Table, address: int, count: int) -> list[int]:
        """Registers, or bits as 0 and 1. Raises SlaveSilent, SlaveRefused, or Retryable when the bus is gone."""
        with self._lock:
            client = self._ready()
            ask = {
                "holding": client.read_holding_registers, "input": client.read_input_registers,
                "coil": client.read_coils, "discrete": client.read_discrete_inputs,
            }[table]  # fmt: skip
            try:
                answer = ask(address, count=count, device_id=slave)
            except _GONE as e:
                raise self._lost(e) from e
            except ModbusException as e:
                raise self._silent(slave) from e
        self._judge(slave, answer, f"{table} {address}")
        found = answer.bits[:count] if table in ("coil", "discrete") else answer.registers
        if len(found) != count:
            raise self._silent(slave)
        return [int(word) for word in found]

    def write(self, slave: int, table: Table, address: int, words: list[int]) -> None:
        """Raises as `read`."""
        with self._lock:
            client = self._ready()
            try:
                if table == "coil":
                    answer = client.write_coil(address, bool(words[0]), device_id=slave)
                elif len(words) == 1:
                    answer = client.write_register(address, words[0], device_id=slave)
                else:
                    answer = client.write_registers(address, words, device_id=slave)
            except _GONE as e:
                raise self._lost(e) from e
            except ModbusException as e:
                raise self._silent(slave) from e
        self._judge(slave, answer, f"{table} {address}")

    def _ready(self) -> ModbusSerialClient | ModbusTcpClient:
        assert self._settings is not None
        if self._client is None:
            self._client = _opened(self._settings)
            self._path = os.path.realpath(self._settings.device)
        elif self._settings.device and os.path.realpath(self._settings.device) != self._path:
            raise self._lost(OSError(f"unplugged or renumbered, was {self._path}"))
        return self._client

    def _lost(self, error: Exception) -> Retryable:
        assert self._settings is not None
        self._drop()
        reason = error.strerror or str(error) if isinstance(error, OSError) else "connection lost"
        return Retryable(f"{self._settings.where}: {reason}", hint="is it plugged in, powered and reachable?")

    def _silent(self, slave: int) -> SlaveSilent:
        assert self._settings is not None
        hint = "check its address, wiring, baud and framing"
        return SlaveSilent(f"{self._settings.where}: slave {slave} does not answer", hint=hint)

    def _judge(self, slave: int, answer: ModbusPDU, what: str) -> None:
        assert self._settings is not None
        if answer.isError():
            reason = _REFUSALS.get(answer.exception_code, f"exception {answer.exception_code}")
            where = self._settings.where
            raise SlaveRefused(f"{where}: slave {slave} refuses {what}: {reason}", hint="see its manual")

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*_GONE):
                client.close()  # type: ignore[no-untyped-call]


class ModbusPort:
    """One user's share. `close` may be called more than once and does not raise."""

    def __init__(self, bus: ModbusBus, settings: ModbusSettings) -> None:
        self.where = settings.where
        self.read = bus.read
        self.write = bus.write
        self._bus = bus
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._bus.leave()


def _opened(settings: ModbusSettings) -> ModbusSerialClient | ModbusTcpClient:
    framing = settings.framing
    client: ModbusSerialClient | ModbusTcpClient
    if settings.device:
        client = ModbusSerialClient(
            settings.device, baudrate=settings.baud, bytesize=int(framing[0]), parity=framing[1],
            stopbits=int(framing[2]), timeout=settings.timeout_s, retries=0,
        )  # fmt: skip
    else:
        client = ModbusTcpClient(settings.host, port=settings.port, timeout=settings.timeout_s, retries=0)
    try:
        if client.connect():
            return client
    except _GONE as e:
        raise Retryable(f"{settings.where}: {e}", hint="is it plugged in, powered and reachable?") from e
    raise _refusal(settings)


def _refusal(settings: ModbusSettings) -> Retryable:
    if not settings.device:
        hint = "is it powered and reachable? does it speak Modbus TCP?"
        return Retryable(f"{settings.where}: no connection", hint=hint)
    if not os.path.exists(settings.device):  # noqa: PTH110 - a text that may be anything
        return Retryable(f"{settings.device}: no such device", hint="is it plugged in? see: edge-agent ports scan")
    if names := holders(settings.device):
        return Retryable(f"{settings.device}: busy, opened by {', '.join(names)}", hint="stop that program")
    return Retryable(f"{settings.device}: cannot be opened", hint="check permissions (group dialout) and framing")
