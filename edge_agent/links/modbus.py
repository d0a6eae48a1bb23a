"""How a Modbus bus is opened and what its slaves may raise; without the library, so that a site can be read anywhere.

The bus itself is `modbus_bus`.
"""

from __future__ import annotations

import msgspec

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.serial import Baud, Framing

LIBRARY = "pymodbus", "modbus"
"""The library of a bus, and the extra that brings it."""


class SlaveSilent(Retryable):
    """No valid answer in time."""


class SlaveRefused(Rejected):
    """An exception response."""


class ModbusSettings(msgspec.Struct, frozen=True):
    """A serial line (`device`) or a host. `timeout_s` is for each answer."""

    device: str = ""
    baud: Baud = 19_200
    framing: Framing = "8N1"
    host: str = ""
    port: int = 502
    timeout_s: float = 0.3

    @property
    def where(self) -> str:
        return self.device or f"{self.host}:{self.port}"
