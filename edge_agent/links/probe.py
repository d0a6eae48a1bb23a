"""What is at a serial port: first it is only listened to, then a bridge's hello, then Modbus addresses.

Each probe opens the port, and leaves it, within its time. All raise Retryable when the port cannot be had or goes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from time import monotonic

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.lines import LineSplitter
from edge_agent.links.modbus import ModbusSettings, SlaveRefused, SlaveSilent
from edge_agent.links.serial import Framing, SerialConnection, SerialSettings
from firmware_bridge.events import Device, Ready
from firmware_bridge.link import Link
from firmware_bridge.session import Session

_LINE = 4096


def check_port(device: str) -> None:
    """Raises Rejected for what is no serial port, Retryable for one that cannot be opened now."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise Rejected(f"{device}: no such device", hint="is it plugged in? without a name all are scanned") from None
    except IsADirectoryError:
        raise Rejected(f"{device}: is a folder", hint="name a serial device") from None
    except PermissionError as e:
        raise Retryable(f"{device}: permission denied", hint="join the group dialout, or become root") from e
    except OSError as e:
        raise Retryable(f"{device}: {e.strerror}", hint="is it plugged in, and free?") from e
    try:
        if not os.isatty(fd):
            raise Rejected(f"{device}: is not a terminal", hint="name a serial device")
    finally:
        os.close(fd)


def listen(device: str, baud: int, seconds: float, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Whole lines that came; ends early when they are `enough`. The first may be the tail of one."""
    connection = SerialConnection(SerialSettings(device, baud))
    try:
        lines: list[bytes] = []
        splitter = LineSplitter(_LINE)
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0 and not enough(lines):
            lines += splitter.feed(connection.read(left))
        return lines
    finally:
        connection.drop()


def greet(device: str, baud: int, seconds: float) -> Device | None:
    """The bridge device that answers hello. Nothing of its samples is acknowledged, so nothing is lost."""
    link = Link(device, baud, Session(secrets.randbits(32) or 1))
    try:
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            for event in link.step(left):
                if isinstance(event, Ready):
                    return event.device
            if not link.connected:
                raise Retryable(f"{device}: {link.last_error}", hint="is it plugged in, and free?")
        return None
    finally:
        link.release()


def ask_slaves(device: str, baud: int, framing: Framing, addresses: range, seconds: float) -> int | None:
    """The first Modbus address that answers, be it with a refusal. Raises ImportError without the extra `modbus`."""
    from edge_agent.links.modbus_bus import ModbusBus  # noqa: PLC0415 - an optional extra

    bus = ModbusBus()
    port = bus.join(ModbusSettings(device, baud, framing, timeout_s=0.1))
    end = monotonic() + seconds
    try:
        for address in addresses:
            if monotonic() >= end:
                return None
            try:
                port.read(address, "holding", 0, 1)
            except SlaveSilent:
                continue
            except (SlaveRefused, Rejected):
                return address
            return address
        return None
    finally:
        port.close()
