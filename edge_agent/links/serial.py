"""One open serial port: reads that lose nothing, writes with a limit, and a named reason when it cannot be had.

pyserial configures the port; reading and writing go to the file descriptor itself, because pyserial's `read`
forgets what it has when the device hangs up in the middle. Every way in which a port fails (OSError, of which
SerialException is one, termios.error, TypeError, ValueError) means one thing here: Retryable, the link is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from threading import Lock
from time import monotonic, sleep
from typing import Annotated, Literal

import msgspec
import serial
from msgspec import Meta

from edge_agent.errors import Retryable
from edge_agent.links.holders import holders

Baud = Annotated[int, Meta(ge=50, le=4_000_000)]
Framing = Literal["8N1", "8E1", "8O1", "8N2", "7E1", "7O1", "7N2"]

_CHUNK_BYTES = 65536
_LOOK_S = 0.5
_PAUSE_S = 0.001
_CLOSELY_S = 0.003
_GONE = (OSError, termios.error, TypeError, ValueError)


class SerialSettings(msgspec.Struct, frozen=True):
    """How a port is opened. `device` should be a stable name such as `/dev/serial/by-id/…`."""

    device: str
    baud: int = 115_200
    framing: Framing = "8N1"


class SerialConnection:
    """One port from its opening to its loss; a lost one is never opened again, a new one takes its place.

    Opening raises Retryable. One thread may be in `read` and one in `write` at a time; `drop` comes from any.
    """

    def __init__(self, settings: SerialSettings) -> None:
        self.gone = False
        self._device = settings.device
        self._port = _open(settings)
        self._fd: int = self._port.fileno()
        self._path = os.path.realpath(settings.device)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._incoming = select.poll()
        self._incoming.register(self._fd, select.POLLIN)
        self._incoming.register(self._wake, select.POLLIN)
        self._heard = self._looked = monotonic()
        self._torn = self._busy = False
        self._reading, self._writing, self._dropping = Lock(), Lock(), Lock()

    def read(self, timeout_s: float, idle_s: float = 0.0) -> bytes:
        """What has come, at most 64 KiB; b"" when nothing came in time. Raises Retryable when the link is gone.

        `idle_s`: so much silence counts as gone; 0: silence never does. Where chunks follow each other closely, it
        pauses for a millisecond first: a flood then comes in few pieces, each of which wakes a whole line of threads.
        """
        with self._using(self._reading):
            if self._busy:
                sleep(_PAUSE_S)
            began = monotonic()
            self._busy = False
            if not self._wait(began + timeout_s, idle_s):
                return b""
            chunk = os.read(self._fd, _CHUNK_BYTES)
            if not chunk:
                raise OSError(errno.EIO, "hung up")
            self._heard = monotonic()
            self._busy = self._heard - began < _CLOSELY_S
            return chunk

    def write(self, line: bytes, timeout_s: float) -> None:
        """Writes all of `line`. Raises Retryable when the link is gone or takes no more within the time.

        What was not sent by then is never sent: a command must not arrive when it is no longer meant.
        """
        with self._using(self._writing):
            rest = memoryview(b"\n" + line if self._torn else line)
            self._torn = True
            end = monotonic() + timeout_s
            while rest:
                rest = rest[self._write_some(rest, end) :]
            self._torn = False

    def discard_input(self) -> None:
        """Forgets what came while nobody read: it would be stamped too late. Raises Retryable as `read` does."""
        with self._using(self._reading):
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def drop(self) -> None:
        """Closes the port, after waking its reader: nobody closes a descriptor that another thread waits on."""
        with self._dropping:
            if self.gone:
                return
            self.gone = True
            os.eventfd_write(self._wake, 1)
            with self._reading, self._writing, suppress(*_GONE):
                os.close(self._wake)
                self._port.close()

    @contextmanager
    def _using(self, lock: Lock) -> Iterator[None]:
        try:
            with lock:
                self._must_be_there()
                yield
        except _GONE as e:
            self.drop()
            reason = e.strerror if isinstance(e, OSError) else str(e)
            raise Retryable(f"{self._device}: {reason}", hint="is it plugged in and powered?") from e

    def _wait(self, end: float, idle_s: float) -> bool:
        """True when there is something to read."""
        while True:
            left = min(max(end - monotonic(), 0.0), _LOOK_S)
            if self._incoming.poll(ceil(left * 1e3)):
                self._must_be_there()
                return True
            self._look_around(monotonic(), idle_s)
            if monotonic() >= end:
                return False

    def _must_be_there(self) -> None:
        if self.gone:
            raise OSError(errno.ENOTCONN, "link lost")

    def _look_around(self, now: float, idle_s: float) -> None:
        """During silence: the by-id name may point to another tty by now, while the old one stays open and mute."""
        if idle_s and now - self._heard >= idle_s:
            raise OSError(errno.ETIMEDOUT, f"silent for {idle_s:g} s")
        if now - max(self._heard, self._looked) >= _LOOK_S:
            self._looked = now
            if os.path.realpath(self._device) != self._path:
                raise OSError(errno.ENODEV, f"unplugged or renumbered, was {self._path}")

    def _write_some(self, rest: memoryview, end: float) -> int:
        try:
            return os.write(self._fd, rest)
        except BlockingIOError:
            outgoing = select.poll()
            outgoing.register(self._fd, select.POLLOUT)
            if outgoing.poll(ceil(max(end - monotonic(), 0.0) * 1e3)):
                return 0
        termios.tcflush(self._fd, termios.TCOFLUSH)
        raise Retryable(
            f"{self._device}: the device takes no data", hint="check its power, cable and flow control"
        )


def _open(settings: SerialSettings) -> serial.Serial:
    """Raises Retryable that names the reason, and the holder of a busy port."""
    framing = settings.framing
    try:
        port = serial.Serial(
            settings.device, settings.baud, bytesize=int(framing[0]), parity=framing[1], stopbits=int(framing[2]),
            timeout=0, write_timeout=1, exclusive=True,
        )  # fmt: skip
    except _GONE as e:
        raise _refusal(settings.device, e) from e
    try:
        _claim(port)
    except _GONE as e:
        port.close()
        raise _refusal(settings.device, e) from e
    return port


def _claim(port: serial.Serial) -> None:
    """Keeps programs out that know no lock, and the line settled when we leave.

    HUPCL off: DTR falling at close would reset many boards, so that each reconnect would start them anew.
    """
    fd = port.fileno()
    fcntl.ioctl(fd, termios.TIOCEXCL)
    attributes = termios.tcgetattr(fd)
    attributes[2] &= ~termios.HUPCL
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    with suppress(OSError, ValueError):  # FTDI only
        port.set_low_latency_mode(True)


def _refusal(device: str, error: Exception) -> Retryable:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EAGAIN, errno.EBUSY):
        names = ", ".join(holders(device)) or "a process of another user"
        return Retryable(f"{device}: busy, opened by {names}", hint="stop that program, or take another port")
    if number == errno.ENOENT:
        return Retryable(f"{device}: no such device", hint="is it plugged in? see: ls /dev/serial/by-id")
    if number in (errno.EACCES, errno.EPERM):
        return Retryable(f"{device}: permission denied", hint="add the agent's user to the group dialout")
    reason = os.strerror(number) if number else str(error)
    return Retryable(f"{device}: cannot be opened as a serial port: {reason}", hint="check device, baud and framing")
