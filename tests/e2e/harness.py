"""The real agent as a process of its own, and what a test asks of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.api import Refusal, ask

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def wait_until(done: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """What `done` returns as soon as it is true; fails the test with `what` after the timeout."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if result := done():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


class RunningAgent:
    """`edge-agent run site.toml` in `folder`; the site's text may use {folder}."""

    def __init__(self, folder: Path, site: str, *arguments: str) -> None:
        self.folder = folder
        self.site = folder / "site.toml"
        self.site.write_text(site.replace("{folder}", str(folder)), encoding="utf-8")
        self.log = folder / "agent.log"
        self._arguments = arguments
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [*self.argv(), "run", str(self.site), *self._arguments]
            self._child = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)

    def argv(self) -> list[str]:
        """What stands before the command."""
        return [sys.executable, "-m", "edge_agent"]

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def ask(self, verb: str, **args: Any) -> Any:
        """None while nobody answers."""
        try:
            return ask(self.folder / "run" / "agent.sock", verb, args)
        except (OSError, Refusal):
            return None

    def status(self) -> dict[str, Any]:
        """Waits for the agent to answer."""
        answer: dict[str, Any] = wait_until(lambda: self.alive() and self.ask("status"), 20, f"status: {self.tail()}")
        return answer

    def wait_for(self, holds: Callable[[dict[str, Any]], Any], timeout_s: float, what: str) -> dict[str, Any]:
        """The first status of which this holds."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            nonlocal seen
            seen = self.ask("status") or {}
            return bool(seen) and bool(holds(seen))

        try:
            wait_until(look, timeout_s, what)
        except AssertionError as e:
            raise AssertionError(f"{e}; last status {seen}; log {self.tail()}") from None
        return seen

    def alive(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"the agent ended with {self._child.returncode}: {self.tail()}"
        return True

    def wait(self, timeout_s: float) -> int:
        """For an agent that ends by itself: its exit code."""
        assert self._child is not None
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self, timeout_s: float = 20.0) -> int:
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(timeout_s)

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="backslashreplace")[-3000:] if self.log.exists() else ""

    def __enter__(self) -> RunningAgent:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def site_text(*, broker: int | None = None, ack: str = "backend", more: str = "") -> str:
    """The tables that every site of these tests has."""
    uplink = f'[uplink]\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {broker}\n' if broker else ""
    return f"""
[agent]
gateway = "gw1"
tenant = "t"
site = "s"
data_dir = "{{folder}}/data"
run_dir = "{{folder}}/run"
event_log_mb = 4
{uplink}
[delivery]
ack = "{ack}"
resend_after = "2s"
{more}
"""
