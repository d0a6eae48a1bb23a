"""A pipe that ends a poll early, from any thread."""

from __future__ import annotations

import os
from threading import Lock


class Waker:
    """`fd` is readable after `wake` until `clear`. After `close` a wake does nothing."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = Lock()
        self._closed = False

    def wake(self) -> None:
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._write_fd, b"\0")
                except BlockingIOError:
                    return  # full: the reader is woken already

    def clear(self) -> None:
        try:
            os.read(self.fd, 65536)
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
                os.close(self._write_fd)
