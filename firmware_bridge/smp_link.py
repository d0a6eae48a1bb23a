"""SMP over a serial port: the only file of the update with I/O. Opens the port anew when it goes away."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from firmware_bridge import smp
from firmware_bridge.errors import LinkDown, PortBusy
from firmware_bridge.link import Port
from firmware_bridge.update import Progress, Upload

_REOPEN_S = 0.1
_TELL_S = 0.1


class NoDevice(LinkDown):
    """The port is there, and nobody answers SMP on it."""


class SmpLink:
    """One device's SMP server. One thread; `close` may be called again."""

    def __init__(
        self, path: str, baud: int, *, open_port: Callable[[str, int], Port] = Port, patience_s: float = 60.0,
        alive: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Opens the port at once. `patience_s`: how long a port may be gone. `alive` is called at least twice a
        second as long as we are at it, also while nothing comes. Raises PortBusy or LinkDown."""
        self.answers = smp.Answers()
        self.reopened = 0
        self._path, self._baud = path, baud
        self._open_port = open_port
        self._patience_s = patience_s
        self._alive = alive
        self._seq = 128
        self._port: Port | None = open_port(path, baud)

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def ask(
        self, op: int, group: int, command: int, body: Mapping[str, Any] | None = None,
        *, timeout_s: float = 0.5, tries: int = 8,
    ) -> smp.Answer:  # fmt: skip
        """The answer, after repetitions as needed. Raises NoDevice, or LinkDown while the port stays away."""
        for attempt in range(tries):
            self._seq = (self._seq + 1) & 0xFF
            wait_s = timeout_s * min(1 + attempt // 2, 4)
            answer = self._once(smp.request(op, group, command, self._seq, body or {}), self._seq, wait_s)
            if answer is not None and (answer.group, answer.command) == (group, command):
                return answer
        raise NoDevice(
            f"{self._path}: no answer over SMP",
            "is the firmware built with MCUmgr on this port, and the baud rate right?",
        )

    def tell(self, op: int, group: int, command: int, body: Mapping[str, Any] | None = None) -> None:
        """As `ask`, where the device may be gone before it answers (a reset)."""
        try:
            self.ask(op, group, command, body, tries=3)
        except LinkDown:
            return

    def echo(self, text: str, timeout_s: float) -> bool:
        """Asks once whether the device sends `text` back. Raises as `ask`."""
        answer = self.ask(smp.WRITE, smp.OS, smp.ECHO, {"d": text}, timeout_s=timeout_s, tries=1)
        return bool(answer.body.get("r") == text)

    def upload(self, upload: Upload, tell: Callable[[Progress], None], arrived: Callable[[], bool]) -> None:
        """All of it, through losses and reconnections. `arrived`: whether the device lists the whole image.

        Raises update.UpdateFailed or LinkDown.
        """
        told_s = 0.0
        upload.connected()
        while not upload.done:
            try:
                if upload.in_doubt:
                    upload.settle(arrived())
                self._turn(upload)
            except PortBusy:
                raise
            except LinkDown as error:
                self._reopen(error)
                upload.connected()
            if (now_s := time.monotonic()) - told_s >= _TELL_S or upload.done:
                told_s = now_s
                tell(upload.progress)

    def wait_back(self, timeout_s: float) -> bool:
        """After a reset: whether the device answers an echo again within the time."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            try:
                self.echo("edge-agent", 0.3)
            except NoDevice:
                continue
            except LinkDown as error:
                self._reopen(error, max(end_s - time.monotonic(), 0.0))
                continue
            return True
        return False

    def _turn(self, upload: Upload) -> None:
        port = self._must()
        request = upload.due(time.monotonic_ns())
        if request is not None:
            # a line that lost its end would swallow the start of this one
            port.write(b"\n" + request[0])
        left_s = (upload.deadline_ns() - time.monotonic_ns()) / 1e9
        for answer in self._hear(left_s):
            upload.answered(answer, time.monotonic_ns())

    def _once(self, request: bytes, seq: int, timeout_s: float) -> smp.Answer | None:
        end_s = time.monotonic() + timeout_s
        try:
            self._must().write(b"\n" + request)
            while (left_s := end_s - time.monotonic()) > 0:
                for answer in self._hear(left_s):
                    if answer.seq == seq:
                        return answer
        except PortBusy:
            raise
        except LinkDown as error:
            self._reopen(error)
        return None

    def _hear(self, timeout_s: float) -> list[smp.Answer]:
        port = self._must()
        self._alive()
        try:
            ready, _, _ = select.select([port.fileno()], [], [], max(min(timeout_s, 0.5), 0.0))
        except (OSError, ValueError, TypeError) as error:
            raise LinkDown(f"{self._path}: {error}") from error
        if not ready:
            if port.renumbered():
                raise LinkDown(f"{self._path}: leads elsewhere now")
            return []
        return self.answers.receive(port.read())

    def _must(self) -> Port:
        if self._port is None:
            self._reopen(LinkDown(f"{self._path}: not open"))
        assert self._port is not None
        return self._port

    def _reopen(self, why: LinkDown, patience_s: float | None = None) -> None:
        """Waits for the port to come back. Raises `why` when it does not."""
        self.close()
        end_s = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        while True:
            self._alive()
            try:
                self._port = self._open_port(self._path, self._baud)
            except LinkDown:
                if time.monotonic() >= end_s:
                    raise why from None
                time.sleep(_REOPEN_S)
                continue
            self.answers.reset()
            self.reopened += 1
            return
