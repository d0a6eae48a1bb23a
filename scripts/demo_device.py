#!/usr/bin/env python3
"""A motor controller on a real pseudo-terminal: one JSON line a sample, commands in between, like a serial device.

    device:  {"seq":12,"load":0.71,"speed":1457.2,"temp":61.3,"vibration":1.05,"current":3.7,"relay":1}
    agent:   {"set":"relay","value":0,"id":7}
    device:  {"ack":7,"set":"relay","value":0}

It starts to send a moment after somebody opened the port, as a controller does that boots when it is plugged in,
and counts exactly the samples that it wrote. Over standard input it takes one JSON object a line: a fault to act
from now on, `{"fault": {"kind": "overheating", "severity": 0.5, "duration_s": 20}}`, or `{"stop": true}`. When it
stops it writes its report as one JSON line to standard output, and keeps the port open until standard input ends,
so that nothing it sent is cut off.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import select
import sys
import time
import tty
from collections import deque
from pathlib import Path

import msgspec

from edge_agent.links.answers import Answer, SetCommand
from edge_agent.sources.motor_sensors import Fault, InstrumentedMotor

_POLL_S = 0.05
_FIFO_LINES = 64
_MAX_COMMAND = 512


class Control(msgspec.Struct, frozen=True):
    """One line of standard input."""

    fault: Fault | None = None
    clear: bool = False
    stop: bool = False


class Report(msgspec.Struct):
    """What the device did. `produced` are samples that it wrote whole while the port was open, `unheard` those that
    came while it was not, `overrun` those for which there was no room because nobody read, `silent` those for which
    no sensor answered."""

    produced: int = 0
    unheard: int = 0
    overrun: int = 0
    silent: int = 0
    commands: int = 0
    refused: int = 0
    garbage: int = 0
    relay: int = 1


class Controller:
    """What the device says; no I/O."""

    def __init__(self, motor: InstrumentedMotor) -> None:
        self.motor = motor
        self.report = Report()
        self._seq = 0

    def sample(self, dt_s: float) -> bytes | None:
        """The next line; None when no sensor answers."""
        values = self.motor.sample(dt_s)
        self._seq += 1
        if values is None:
            self.report.silent += 1
            return None
        return json.dumps({"seq": self._seq, **values, "relay": self.report.relay}).encode() + b"\n"

    def obey(self, line: bytes) -> bytes | None:
        """The answer to a command; None for what is none."""
        try:
            command = msgspec.json.decode(line, type=SetCommand)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.report.garbage += 1
            return None
        if command.set != "relay" or command.value not in (0, 1):
            self.report.refused += 1
            return msgspec.json.encode(Answer(command.id, command.set, error="unknown")) + b"\n"
        self.report.commands += 1
        self.report.relay = int(command.value)
        self.motor.motor.running = bool(command.value)
        return msgspec.json.encode(Answer(command.id, "relay", self.report.relay)) + b"\n"


class DemoDevice:
    """The controller behind a pseudo-terminal. `port` is what the agent opens."""

    def __init__(self, controller: Controller, *, rate_hz: float = 10.0) -> None:
        self.controller = controller
        self.report = controller.report
        self._period_s = 1.0 / rate_hz
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._hangup = select.poll()
        self._hangup.register(self._master, 0)
        self._fifo: deque[tuple[bytes, bool]] = deque()
        self._unsent = b""
        self._heard = b""
        self._next_s = 0.0

    def is_open(self) -> bool:
        """Whether somebody has the port open."""
        return not any(event & select.POLLHUP for _, event in self._hangup.poll(0))

    def wait_for_agent(self, timeout_s: float, boot_s: float) -> bool:
        """Until somebody has the port open; the first sample is `boot_s` later."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.is_open():
                self._next_s = time.monotonic() + boot_s
                return True
            time.sleep(_POLL_S)  # a terminal tells when it is closed, but not when it is opened
        return False

    def turn(self, *, sampling: bool = True, also: int | None = None) -> bool:
        """Sends what is due and obeys what came; returns after one event, a period at the latest. True when the
        descriptor `also` can be read."""
        if not self._next_s:
            self._next_s = time.monotonic()
        wanted = [self._master] if also is None else [self._master, also]
        writing = [self._master] if self._fifo else []
        left_s = max(0.0, self._next_s - time.monotonic()) if sampling else self._period_s
        readable, writable, _ = select.select(wanted, writing, [], left_s)
        if self._master in readable:
            self._listen()
        if writable:
            self._send()
        if sampling and time.monotonic() >= self._next_s:
            self._next_s += self._period_s
            self._sample()
        return also in readable

    def drain(self, timeout_s: float) -> None:
        """Until all that was sampled is on the wire."""
        deadline_s = time.monotonic() + timeout_s
        while self._fifo and time.monotonic() < deadline_s:
            self.turn(sampling=False)

    def close(self) -> None:
        os.close(self._master)

    def _sample(self) -> None:
        line = self.controller.sample(self._period_s)
        if line is None:
            return
        if not self.is_open():
            self.report.unheard += 1
        elif len(self._fifo) >= _FIFO_LINES:
            self.report.overrun += 1
        else:
            self._fifo.append((line, True))
            self._send()

    def _send(self) -> None:
        while self._fifo:
            line, is_sample = self._fifo[0]
            rest = self._unsent or line
            try:
                rest = rest[os.write(self._master, rest) :]
            except BlockingIOError:
                return
            self._unsent = rest
            if rest:
                return
            self._fifo.popleft()
            self.report.produced += is_sample

    def _listen(self) -> None:
        try:
            self._heard += os.read(self._master, 4096)
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            time.sleep(_POLL_S)  # nobody has the port open; it reads as broken until somebody has
            return
        *lines, self._heard = self._heard.split(b"\n")
        self._heard = self._heard[-_MAX_COMMAND:]
        for line in lines:
            answer = self.controller.obey(line)
            if answer is not None:
                self._fifo.append((answer, False))
        self._send()


def obey_line(controller: Controller, line: bytes) -> bool:
    """Carries one line of standard input out; True when it says stop, or when there are no more."""
    if not line:
        return True
    control = msgspec.json.decode(line, type=Control)
    if control.clear:
        controller.motor.clear()
    if control.fault is not None:
        controller.motor.inject(control.fault)
    return control.stop


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", type=Path, help="make this a symbolic link to the port")
    parser.add_argument("--rate", type=float, default=10.0, help="samples per second")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--thermal", type=float, default=60.0, help="thermal time constant of the motor in s")
    parser.add_argument("--boot", type=float, default=0.5, help="s from the opening of the port to the first sample")
    parser.add_argument("--samples", type=int, default=None, help="stop by itself after so many")
    args = parser.parse_args()
    controller = Controller(InstrumentedMotor(args.seed, thermal_s=args.thermal))
    device = DemoDevice(controller, rate_hz=args.rate)
    if args.link is not None:
        args.link.unlink(missing_ok=True)
        args.link.symlink_to(device.port)
    print(json.dumps({"port": device.port}), flush=True)
    if not device.wait_for_agent(60.0, args.boot):
        print("demo_device: nobody opened the port within a minute", file=sys.stderr)
        return 1
    stdin = os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # select sees nothing that is buffered
    stopped = False
    while not stopped and controller.report.produced != args.samples:
        if device.turn(also=stdin.fileno()):
            stopped = obey_line(controller, stdin.readline())
    device.drain(5.0)
    print(msgspec.json.encode(controller.report).decode(), flush=True)
    while not device.turn(sampling=False, also=stdin.fileno()) or stdin.readline():
        pass
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
