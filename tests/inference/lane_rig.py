"""A lane on its thread with a real worker process, and everything that it posts."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.health import PartHealth
from edge_agent.inference.breaker import Breaker
from edge_agent.inference.lane import Lane, LaneOptions
from edge_agent.inference.package import load_package
from edge_agent.inference.worker_process import WorkerProcess
from edge_agent.types import Event, Frame, Image, Infer, LaneChange, Lost, Prediction

CLOCK = SystemClock()


class DirectSpawner:
    """Starts children in the calling thread; a lane's thread lives as long as its worker may."""

    def spawn(self, argv: Sequence[str], *, pass_fds: Sequence[int] = (), **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(list(argv), pass_fds=tuple(pass_fds), **options)


def worker(memory_mb: int = 512) -> WorkerProcess:
    return WorkerProcess(spawner=DirectSpawner(), memory_mb=memory_mb)


class LaneRig:
    """Use as a context manager; leaving it stops the lane and checks that nothing is left."""

    def __init__(
        self, directory: Path, *, shared: WorkerProcess | None = None, memory_mb: int = 512, name: str = "lane",
        breaker: Breaker | None = None, **options: Any,
    ) -> None:  # fmt: skip
        package = load_package(directory)
        self.manifest = package.manifest
        self.worker = shared or worker(memory_mb)
        self.health = PartHealth(name)
        self.events: list[Event] = []
        self.pids: set[int] = set()
        self._changed = threading.Condition()
        self._number = 0
        settings = {"policy": self.manifest.policy, "deadline_ms": self.manifest.deadline_ms, **options}
        self.lane = Lane(
            name, package, LaneOptions(**settings), worker=self.worker, clock=CLOCK, post=self._post,
            counters=self.health, breaker=breaker,
        )  # fmt: skip
        self._thread = threading.Thread(target=self.lane.run)

    def __enter__(self) -> LaneRig:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.stop()
        self._thread.join(10.0)
        assert not self._thread.is_alive(), "the lane does not stop"

    def _post(self, events: list[Event]) -> None:
        with self._changed:
            self.events += events
            if self.worker.pid:
                self.pids.add(self.worker.pid)
            self._changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def predictions(self) -> list[Prediction]:
        return self.of(Prediction)

    @property
    def lost(self) -> int:
        return sum(event.count for event in self.of(Lost))

    @property
    def trust(self) -> str:
        changes = self.of(LaneChange)
        return changes[-1].trust if changes else ""

    @property
    def reason(self) -> str:
        return self.of(LaneChange)[-1].reason

    @property
    def last_error(self) -> str:
        return str(self.health.to_dict(0).get("notes", {}).get("last_error", ""))

    def wait(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Also for what no event announces."""
        end = time.monotonic() + within_s
        with self._changed:
            while not condition():
                assert time.monotonic() < end, f"not within {within_s} s: {self.events[-3:]} {self.health.to_dict(0)}"
                self._changed.wait(0.05)

    def wait_trust(self, trust: str, within_s: float = 20.0) -> None:
        self.wait(lambda: self.trust == trust, within_s)

    def window(self, *values: float, waiting: bool = False) -> None:
        """A window of floats."""
        raw = struct.pack(f"<{len(values)}f", *values)
        self.raw_window(raw, waiting=waiting)

    def raw_window(self, raw: bytes, *, waiting: bool = False) -> None:
        shape = (self.manifest.input.channels, self.manifest.input.length)
        self.lane.submit_window(Infer("lane", self._number, CLOCK.now(), raw, shape), waiting=waiting)
        self._number += 1

    def image(self, pixels: bytes, *, scale: float = 1.0, waiting: bool = False) -> None:
        view = self.lane.view
        assert view is not None
        image = Image(view.height, view.width, self.manifest.input.channels, pixels, scale)
        self.lane.submit_frame(Frame("cam", CLOCK.now(), self._number, (image,)), waiting=waiting)
        self._number += 1

    def ask(self, *values: float, within_s: float = 20.0) -> Prediction:
        """The prediction for one window of floats."""
        seen = len(self.predictions)
        self.window(*values)
        self.wait(lambda: len(self.predictions) > seen, within_s)
        return self.predictions[-1]

    def ask_image(self, pixels: bytes, *, scale: float = 1.0) -> Prediction:
        seen = len(self.predictions)
        self.image(pixels, scale=scale)
        self.wait(lambda: len(self.predictions) > seen)
        return self.predictions[-1]


def process_state(pid: int) -> str:
    """The kernel's letter, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def wait_gone(pid: int, within_s: float = 5.0) -> None:
    """Gone, or waiting for its parent to notice."""
    end = time.monotonic() + within_s
    while process_state(pid) not in ("", "Z"):
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.02)
