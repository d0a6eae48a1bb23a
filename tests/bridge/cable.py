"""A cable between a device process and a serial path that can be pulled, with noise on it."""

from __future__ import annotations

import os
import random
import select
import subprocess
import threading
import tty
from collections.abc import Callable
from pathlib import Path


class Cable:
    """`path` is a stable name, as under /dev/serial/by-id; each plug gives it another pseudo-terminal.

    `tap` gets what the device sends, before noise and cuts; none of it arrives while the cable is `mute`.
    """

    def __init__(self, folder: Path, device_fd: int, noise: float = 0.0, seed: int = 1) -> None:
        self.path = folder / "by-id-device"
        self.noise = noise
        self.mute = False
        self.carried = 0
        self.tap: Callable[[bytes], None] = lambda data: None
        self._device = device_fd
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._master: int | None = None
        self._stop = False
        self.plug()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        tty.setraw(master)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave
        with self._lock:
            self._master = master

    def unplug(self) -> None:
        """What is on its way is cut where it is."""
        self.path.unlink(missing_ok=True)
        with self._lock:
            if self._master is not None:
                os.close(self._slave)
                os.close(self._master)
                self._master = None

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        self.unplug()

    def _pump(self) -> None:
        while not self._stop:
            with self._lock:
                ends = [self._device] + ([self._master] if self._master is not None else [])
                try:
                    ready, _, _ = select.select(ends, [], [], 0.001)
                    for end in ready:
                        self._carry(end)
                except OSError:
                    continue
            # Lets unplug have the lock.
            select.select([], [], [], 0.0005)

    def _carry(self, end: int) -> None:
        data = os.read(end, 4096)
        self.carried += len(data)
        if end == self._device:
            self.tap(data)
            if self.mute:
                return
        data = self._damaged(data)
        other = self._master if end == self._device else self._device
        if other is None or not data:
            return
        while data:
            _, writable, _ = select.select([], [other], [], 0.02)
            if not writable:
                return
            data = data[os.write(other, data[:1024]) :]

    def _damaged(self, data: bytes) -> bytes:
        if not self.noise:
            return data
        out = bytearray()
        for byte in data:
            out.append(self._dice.randrange(256) if self._dice.random() < self.noise else byte)
        return bytes(out)


class Process:
    """A device process whose standard input and output is its serial line, as one file descriptor."""

    def __init__(self, *command: str | Path) -> None:
        self.fd, theirs = os.openpty()
        tty.setraw(self.fd)
        tty.setraw(theirs)
        self.process = subprocess.Popen([str(part) for part in command], stdin=theirs, stdout=theirs,
                                        stderr=subprocess.PIPE)  # fmt: skip
        os.close(theirs)

    def close(self) -> str:
        """Ends the process and returns what it said on stderr: a sanitizer's report would be there."""
        self.process.terminate()
        said = self.process.communicate(timeout=5)[1].decode()
        os.close(self.fd)
        return said
