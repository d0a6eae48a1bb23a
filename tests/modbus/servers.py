"""Slaves to talk to: pymodbus' servers over TCP and over a pseudo-terminal, and one of our own that may be silent."""

from __future__ import annotations

import asyncio
import os
import select
import struct
import threading
import tty
from contextlib import contextmanager, suppress
from pathlib import Path

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.doubles.mosquitto import free_port

HOLDING = [215, 0xFFCE, 0x0001, 0x86A0, 0x86A0, 0x0001, 0x4049, 0x0FDB, 0x0FDB, 0x4049, 0x8001, 0, 0, 0]
"""21.5 and -5.0 at scale 0.1; 100000 big and little word order; pi both ways; bits 15 and 0; three to write."""


def devices():
    bits = SimData(0, values=[True, False] * 8, datatype=DataType.BITS)
    words = SimData(0, values=HOLDING, datatype=DataType.REGISTERS)
    return [SimDevice(1, ([bits], [bits], [words], [words])), SimDevice(3, ([bits], [bits], [words], [words]))]


@contextmanager
def serving(make):
    """`make()` gives the server, inside its loop; it runs in a thread."""
    loop = asyncio.new_event_loop()
    up = threading.Event()
    box = []

    async def serve():
        box.append(make())
        await box[0].serve_forever(background=True)
        up.set()
        with suppress(asyncio.CancelledError):
            await box[0].serving

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(box[0].shutdown(), loop).result(10)
        thread.join(10)
        loop.close()


@contextmanager
def tcp_server():
    """The port."""
    port = free_port()
    with serving(lambda: ModbusTcpServer(devices(), address=("127.0.0.1", port), ignore_missing_devices=True)):
        yield port


class Line:
    """Two pseudo-terminals with their masters joined, as socat does it; both ends are paths."""

    def __init__(self, folder):
        self._ends = []
        self.paths = []
        for name in ("host", "field"):
            master, slave = os.openpty()
            tty.setraw(master)
            tty.setraw(slave)
            self._ends.append((master, slave))
            path = folder / name
            path.symlink_to(os.ttyname(slave))
            self.paths.append(str(path))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._pump)
        self._thread.start()

    def close(self):
        self._ending.set()
        self._thread.join()
        for master, slave in self._ends:
            os.close(master)
            os.close(slave)

    def _pump(self):
        a, b = self._ends[0][0], self._ends[1][0]
        while not self._ending.is_set():
            for end in select.select([a, b], [], [], 0.05)[0]:
                os.write(b if end == a else a, os.read(end, 4096))


@contextmanager
def rtu_server(folder):
    """The path of the host's end."""
    line = Line(folder)
    try:
        with serving(
            lambda: ModbusSerialServer(devices(), port=line.paths[1], baudrate=115_200, ignore_missing_devices=True)
        ):
            yield line.paths[0]
    finally:
        line.close()


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Slaves(threading.Thread):
    """Our own RTU slaves on one pseudo-terminal: holding registers by slave; may be silent, refuse, lie, or stick."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = str(folder / "rs485")
        Path(self.path).symlink_to(os.ttyname(self._slave))
        self.registers = {n: [100 * n + i for i in range(20)] for n in (1, 2, 3)}
        self.silent = set()
        self.refusing = set()
        self.damaging = set()
        self.stuck = set()
        self.asked = []
        self._ending = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join()
        os.close(self._master)
        os.close(self._slave)

    def run(self):
        data = b""
        while not self._ending.is_set():
            if not select.select([self._master], [], [], 0.02)[0]:
                data = b""
                continue
            data += os.read(self._master, 256)
            if len(data) >= 8 and crc16(data[:-2]) == data[-2:]:
                self._answer(data[:-2])
                data = b""

    def _answer(self, request):
        slave, function, address, count = struct.unpack(">BBHH", request[:6])
        self.asked.append(slave)
        if slave in self.silent or slave not in self.registers:
            return
        registers = self.registers[slave]
        if slave in self.refusing:
            body = bytes([slave, function | 0x80, 2])
        elif function == 3:
            words = registers[address : address + count]
            body = bytes([slave, 3, 2 * count]) + struct.pack(f">{count}H", *words)
        else:
            if slave not in self.stuck:
                new = [count] if function == 6 else list(struct.unpack(f">{count}H", request[7:]))
                registers[address : address + len(new)] = new
            body = request[:6]
        frame = body + crc16(body)
        os.write(self._master, frame[:-1] + b"\x00\x55" if slave in self.damaging else frame)
