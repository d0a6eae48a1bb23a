"""The serial port behind a session: the only file with I/O.

One thread calls `Link.step` again and again; any thread may call `command`, `commit` and `close`. The port is
opened exclusively, read with select and os.read (pyserial's own read loses what came just before a hang-up), and
opened again with a growing pause when it is gone. Starts no thread.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import serial

from firmware_bridge.errors import LinkDown, PortBusy
from firmware_bridge.events import Cursor, Event
from firmware_bridge.frame import MAX_FRAME
from firmware_bridge.messages import Value
from firmware_bridge.session import Session

# What pyserial and the kernel raise when a port goes away; termios.error is not an OSError.
_GONE = (OSError, termios.error, TypeError, ValueError)
_FIRST_PAUSE_NS = 50_000_000
_LONGEST_PAUSE_NS = 2_000_000_000
_IDENTITY_NS = 500_000_000
_JUDGED_NS = 100_000_000
_DENSE_BYTES_PER_S = 50_000
"""More than half of a line of 921,600 baud."""
_FULL_FRAME = MAX_FRAME // 2
"""A mean above this: most frames are as long as they may be."""
DENSE, BACKLOG = 5, 16
"""How much longer than on a busy line the pause is on a dense one, and where the device has a backlog."""
_READ = 4096
"""What a terminal holds for its reader."""


def port_holder(path: str) -> str:
    """ "name (pid n)" of another process that has `path` open, or "" when none is seen (needs its rights)."""
    real = os.path.realpath(path)
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        pid = entry.parts[2]
        with suppress(OSError):
            if int(pid) != os.getpid() and str(entry.readlink()) == real:
                return f"{Path('/proc', pid, 'comm').read_text().strip()} (pid {pid})"
    return ""


class Port:
    """An open serial port. Reads never block; writes wait at most `write_timeout_s`."""

    def __init__(self, path: str, baud: int, write_timeout_s: float = 1.0) -> None:
        """Raises PortBusy or LinkDown."""
        self._path = path
        try:
            self._serial = serial.Serial(path, baud, timeout=0, write_timeout=write_timeout_s, exclusive=True)
        except _GONE as error:
            raise self._refusal(error) from error
        self.target = os.path.realpath(path)
        # FTDI chips hold bytes back for 16 ms otherwise; other drivers do not know the request.
        with suppress(*_GONE):
            self._serial.set_low_latency_mode(True)

    def _refusal(self, error: Exception) -> LinkDown:
        holder = port_holder(self._path)
        if holder or getattr(error, "errno", None) in (11, 16):
            return PortBusy(f"{self._path}: held by {holder or 'another process'}", "stop it, or use another port")
        return LinkDown(f"{self._path}: {error}", "check cable, path and permissions (group dialout)")

    def fileno(self) -> int:
        """For select."""
        return int(self._serial.fileno())

    def read(self) -> bytes:
        """What has come, once select says that something has. Raises LinkDown at a hang-up."""
        try:
            data = os.read(self._serial.fileno(), _READ)
        except BlockingIOError:
            return b""
        except _GONE as error:
            raise LinkDown(f"{self._path}: {error}") from error
        if not data:
            raise LinkDown(f"{self._path}: hang-up")
        return data

    def write(self, data: bytes) -> None:
        """All of `data`. Raises LinkDown, also when the line takes nothing for the timeout."""
        try:
            self._serial.write(data)
        except _GONE as error:
            raise LinkDown(f"{self._path}: {error}") from error

    def renumbered(self) -> bool:
        """Whether the path now leads to another device than the one that is open, or to none."""
        return os.path.realpath(self._path) != self.target or not Path(self._path).exists()

    def close(self) -> None:
        """Never raises."""
        with suppress(*_GONE):
            self._serial.close()


class Link:
    """A session kept connected to the device at `path`, best a stable /dev/serial/by-id name.

    `coalesce_s`: pause before the next wait once reads follow each other closely, so that a stream of small packets
    costs few calls and each of them one wake-up; adds at most that to the latency of a busy line, and nothing to a
    quiet one. On a dense line the pause is DENSE times as long (two long frames of 921,600 baud take as long), on
    one whose device has a backlog BACKLOG times, for its samples have waited much longer.
    """

    def __init__(
        self,
        path: str,
        baud: int,
        session: Session,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        coalesce_s: float = 0.001,
    ) -> None:
        self.session = session
        self.reconnects = 0
        self.last_error: LinkDown | None = None
        self._path = path
        self._baud = baud
        self._now_ns = now_ns
        self._coalesce_s = coalesce_s
        self._port: Port | None = None
        self._lock = threading.Lock()
        self._pause_ns = _FIRST_PAUSE_NS
        self._open_ns = 0
        self._identity_ns = 0
        self._busy = self._asked = False
        self._stretch = 1
        self._judged_ns = self._taken = self._frames = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def connected(self) -> bool:
        """Whether the port is open; the session's state says whether a device answers."""
        return self._port is not None

    def step(self, timeout_s: float) -> list[Event]:
        """Waits until something happens, at most `timeout_s`, and returns it. Reopens the port when it is time."""
        if self._port is None and not self._reopen():
            self._wait(self._open_ns - self._now_ns(), timeout_s)
            with self._lock:
                return self.session.tick(self._now_ns())
        with self._lock:
            # A command of another thread is due at once; the next deadline includes it.
            deadline_ns = self.session.next_deadline(self._now_ns())
        readable = self._wait(deadline_ns - self._now_ns(), timeout_s)
        return self._exchange(readable)

    def command(self, actuator: str, value: Value, ttl_s: float) -> int:
        """As Session.command, from any thread; written before it returns. Raises CommandRefused."""
        with self._lock:
            number = self.session.command(actuator, value, int(ttl_s * 1e9), self._now_ns())
            # The link's own thread may be in its pause. That the port is gone is for it to find out.
            if self._port is not None:
                with suppress(LinkDown):
                    self._flush(self._port)
        self._wake()
        return number

    def commit(self, cursor: Cursor) -> None:
        """As Session.commit, from any thread; acknowledged at once."""
        with self._lock:
            self.session.commit(cursor)
        self._wake()

    def close(self) -> None:
        """Closes the port and ends a waiting step; the link is not used again by its thread after that."""
        self._wake()
        with self._lock:
            self._drop()

    def release(self) -> None:
        """As `close`, and gives the wake pipe back: for when no thread uses the link any more, and none will."""
        self.close()
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _reopen(self) -> bool:
        if self._now_ns() < self._open_ns:
            return False
        try:
            port = Port(self._path, self._baud)
        except LinkDown as error:
            self._retry_later(error)
            return False
        with self._lock:
            self._port = port
            self.session.connected(self._now_ns())
        self._pause_ns = _FIRST_PAUSE_NS
        self._identity_ns = self._now_ns() + _IDENTITY_NS
        self.reconnects += 1
        return True

    def _retry_later(self, error: LinkDown) -> None:
        self.last_error = error
        self._open_ns = self._now_ns() + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)

    def _wait(self, due_ns: int, timeout_s: float) -> bool:
        if self._busy:
            time.sleep(self._pause_s())
        began_ns = self._now_ns()
        seconds = max(0.0, min(timeout_s, due_ns / 1e9))
        port = self._port
        watched: list[int] = [self._wake_read]
        try:
            if port:
                watched.append(port.fileno())
            ready, _, _ = select.select(watched, [], [], seconds)
        except _GONE:
            return True
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        readable = len(ready) > (self._wake_read in ready)
        self._busy = readable and self._now_ns() - began_ns < 3e9 * self._coalesce_s
        return readable

    def _exchange(self, readable: bool) -> list[Event]:
        events: list[Event] = []
        with self._lock:
            port = self._port
            if port is None:
                return events
            try:
                if readable:
                    data, now_ns = port.read(), self._now_ns()
                    events += self.session.receive(data, now_ns)
                    self._judge(len(data), now_ns)
                elif self._now_ns() >= self._identity_ns:
                    self._check_identity(port)
                events += self.session.tick(self._now_ns())
                self._flush(port)
            except LinkDown as error:
                self._drop()
                self._retry_later(error)
        return events

    def _pause_s(self) -> float:
        # An answer comes behind the frame that is on the line; its time tells the device's clock.
        return self._coalesce_s * (min(self._stretch, DENSE) if self._asked else self._stretch)

    def _judge(self, size: int, now_ns: int) -> None:
        """By all of a while: packets that a busy machine hands over together are no line in continuous use."""
        self._taken += size
        span_ns = now_ns - self._judged_ns
        if span_ns >= _JUDGED_NS:
            frames = self.session.frames.good
            # A device with nothing waiting sends what it has, in short frames.
            backlog = 0 < (frames - self._frames) * _FULL_FRAME < self._taken
            dense = self._taken * 1e9 > _DENSE_BYTES_PER_S * span_ns
            self._stretch = BACKLOG if backlog else DENSE if dense else 1
            self._taken, self._frames, self._judged_ns = 0, frames, now_ns
        # A terminal that is nearly full would stop its line.
        self._busy &= size < _READ // 2

    def _check_identity(self, port: Port) -> None:
        self._identity_ns = self._now_ns() + _IDENTITY_NS
        if port.renumbered():
            raise LinkDown(f"{self._path}: leads elsewhere now")

    def _flush(self, port: Port) -> None:
        data = self.session.data_to_send()
        self._asked = bool(data)
        if data:
            port.write(data)

    def _drop(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
            self.session.disconnected()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")
