"""The demo's own processes: the device on its pseudo-terminal, the agent, and what is done to the agent's workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from edge_agent.api import Refusal, ask

SCRIPTS = Path(__file__).resolve().parent


class Device:
    """`demo_device.py` as a child; its port is known at once."""

    def __init__(self, *, rate_hz: float) -> None:
        argv = [sys.executable, str(SCRIPTS / "demo_device.py"), "--rate", str(rate_hz), "--thermal", "6"]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.port: str = json.loads(self._child.stdout.readline())["port"]

    def fault(self, **fault: Any) -> None:
        self._say({"fault": fault})

    def clear(self) -> None:
        self._say({"clear": True})

    def stop(self) -> dict[str, int]:
        """Ends the samples; the device's own report. The port stays open until `close`."""
        self._say({"stop": True})
        assert self._child.stdout is not None
        report: dict[str, int] = json.loads(self._child.stdout.readline() or "{}")
        return report

    def close(self) -> None:
        if self._child.stdin and not self._child.stdin.closed:
            self._child.stdin.close()
        try:
            self._child.wait(5.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(message) + "\n")
        self._child.stdin.flush()


class AgentProcess:
    """`edge-agent run` as a child, asked over its control socket."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.log = folder / "agent.log"
        self._socket = folder / "run" / "agent.sock"
        with self.log.open("wb") as log:
            argv = [sys.executable, "-m", "edge_agent", "run", str(site)]
            self._child = subprocess.Popen(argv, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    def ask(self, verb: str) -> dict[str, Any] | None:
        """None while it does not answer."""
        try:
            answer: dict[str, Any] = ask(self._socket, verb)
        except (OSError, Refusal):
            return None
        return answer

    def stop(self, timeout_s: float = 20.0) -> int:
        """Its exit code."""
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def children(self) -> list[int]:
        """Its own child processes that are alive."""
        tasks = Path(f"/proc/{self.pid}/task")
        found: list[int] = []
        for path in tasks.glob("*/children") if tasks.exists() else ():
            found += [int(pid) for pid in path.read_text().split()]
        return found


class Tormentor:
    """Stops every worker of one lane as soon as it serves, so that each input of it hangs, until `rest`."""

    def __init__(self, agent: AgentProcess, lane: str) -> None:
        self.stopped: list[int] = []
        self._agent = agent
        self._lane = lane
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tormentor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def rest(self) -> None:
        self._done.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._done.wait(0.03):
            pid = worker_pid(self._agent.ask("status"), self._lane)
            if pid and pid not in self.stopped and signal_worker(pid, signal.SIGSTOP):
                self.stopped.append(pid)


def lane_of(status: dict[str, Any] | None, lane: str) -> dict[str, Any]:
    return next((x for x in (status or {}).get("lanes", ()) if x["name"] == lane), {})


def worker_pid(status: dict[str, Any] | None, lane: str) -> int | None:
    """Of a worker that serves."""
    notes = lane_of(status, lane).get("notes", {})
    return notes.get("pid") if notes.get("state") in ("serving", "half_open") else None


def signal_worker(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
