"""`Context.links`: whoever wants a port that several may use asks here, so that it has one owner."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from edge_agent.links.serial import SerialSettings
from edge_agent.links.serial_link import SerialLink, SerialPort

if TYPE_CHECKING:
    from edge_agent.links.bridge import BridgeLink
    from edge_agent.links.modbus import ModbusSettings
    from edge_agent.links.modbus_bus import ModbusBus, ModbusPort


class Links:
    """All shared ports of the agent. Any thread."""

    def __init__(self) -> None:
        self._serial: dict[str, SerialLink] = {}
        self._bridges: dict[str, BridgeLink] = {}
        self._buses: dict[str, ModbusBus] = {}
        self._lock = Lock()

    def serial(self, settings: SerialSettings, *, reading: bool = False) -> SerialPort:
        """The port of `settings.device`, opened now or shared. `reading` is for the one source that reads it.

        Raises Retryable when the port cannot be had now, Rejected when its users disagree on how to open it.
        """
        with self._lock:
            link = self._serial.setdefault(settings.device, SerialLink())
        return link.join(settings, reading=reading)

    def bridge(self, device: str) -> BridgeLink:
        """The firmware bridge at this port, opened by its source."""
        # its wire format is a fifth of the agent's start, and most sites have no board
        from edge_agent.links.bridge import BridgeLink  # noqa: PLC0415

        with self._lock:
            return self._bridges.setdefault(device, BridgeLink())

    def lend(self, device: str, why: str) -> None:
        """Closes the port for its users until `take_back`: they raise Retryable with `why` meanwhile."""
        with self._lock:
            serial = self._serial.setdefault(device, SerialLink())
            bridge = self._bridges.get(device)
        serial.lend(why)
        if bridge is not None:
            bridge.lend(why)

    def take_back(self, device: str) -> None:
        """Its users may open it again."""
        self.lend(device, "")

    def modbus(self, settings: ModbusSettings) -> ModbusPort:
        """A share of the bus, opened now or shared. Raises as `serial`, and ImportError without the extra."""
        from edge_agent.links.modbus_bus import ModbusBus  # noqa: PLC0415 - an optional extra

        with self._lock:
            bus = self._buses.setdefault(settings.where, ModbusBus())
        return bus.join(settings)
