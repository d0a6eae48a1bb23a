"""The real ingest as a process of its own."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.cli.command import argv, environment
from tests.e2e.harness import wait_until


class RunningIngest:
    """`edge-agent fleet ingest` with these arguments beside broker and database; `start` again after an end."""

    def __init__(self, folder: Path, broker: int, database: str, name: str = "ingest-1", *more: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        words = ("fleet", "ingest", "--broker", f"mqtt://127.0.0.1:{broker}", "--database", database, "--name", name)
        self._argv = argv(*words, "--report", "2", "--reconnect-max", "2", *more)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> RunningIngest:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(self._argv, stdout=log, stderr=log, env=environment())
        return self

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def said(self, text: str, times: int = 1) -> bool:
        """Whether its log has this so often."""
        return self.alive() and self.text().count(text) >= times

    def wait_for(self, text: str, times: int = 1, timeout_s: float = 30) -> None:
        wait_until(lambda: self.said(text, times), timeout_s, f"{text!r} in {self.text()}")

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def alive(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"{self.name} ended with {self._child.returncode}: {self.text()[-3000:]}"
        return True

    def signal(self, number: int) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()

    def stop(self) -> int:
        child, self._child = self._child, None
        assert child is not None
        child.send_signal(signal.SIGTERM)
        return child.wait(20)

    def wait(self, timeout_s: float = 30) -> int:
        assert self._child is not None
        return self._child.wait(timeout_s)

    def __enter__(self) -> RunningIngest:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
