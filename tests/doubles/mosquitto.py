"""A real mosquitto on a free loopback port, with its own configuration and data, ended by its own process id."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

BINARY = shutil.which("mosquitto") or (
    "/usr/sbin/mosquitto" if Path("/usr/sbin/mosquitto").exists() else None
)
needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="mosquitto is not installed: apt-get install mosquitto")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Mosquitto:
    """`more` are further lines of its configuration. It keeps sessions in memory only, unless told otherwise."""

    def __init__(self, folder: Path, *, port: int | None = None, more: str = "") -> None:
        self.port = port or free_port()
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\n{more}\n",
            encoding="utf-8",
        )
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it accepts connections."""
        assert BINARY is not None
        with self._log.open("ab") as log:
            self._child = subprocess.Popen([BINARY, "-c", str(self._config)], stdout=log, stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._child.poll() is None, self._log.read_text(encoding="utf-8")
            time.sleep(0.02)
        raise AssertionError("mosquitto did not come up within 10 s")

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
            self._child = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
