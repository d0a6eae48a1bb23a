"""What happens in the demo, and when, as shares of its length; and what is seen meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from demo_backend import DemoBackend
from demo_broker import DemoBroker
from demo_processes import AgentProcess, Device, Tormentor, lane_of, signal_worker, worker_pid

from edge_agent.metrics import Histogram

LANE = "digits"


@dataclass
class Seen:
    """What the demo observed, for the view and the verdict."""

    phase: str = "starting"
    events: list[str] = field(default_factory=list)
    told: int = 0
    """How many of the events were shown as lines."""
    status: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Latency histogram of the rules at named moments."""
    rungs: list[str] = field(default_factory=list)
    killed: int = 0
    hung: int = 0
    breaker_opened: bool = False
    stalls: int = 0
    """Looks at which a running agent had handled nothing new for over a second."""

    def rule_p99_ms(self) -> dict[str, float | None]:
        """Of the readings between two moments; None where there were none."""
        spans = {"healthy": ("start", "hang"), "hung": ("hang", "dead"), "dead": ("dead", "end")}
        return {phase: self._p99(*span) for phase, span in spans.items()}

    def _p99(self, first: str, last: str) -> float | None:
        if first not in self.counts or last not in self.counts:
            return None
        pairs = zip(self.counts[first], self.counts[last], strict=True)
        histogram = Histogram.of([b - a for a, b in pairs])
        return round(histogram.quantile_ms(0.99), 3) if histogram.count else None


class Story:
    """Runs through the demo; yields about ten times a second for whoever draws."""

    def __init__(
        self, seconds: float, *, agent: AgentProcess, device: Device, broker: DemoBroker, backend: DemoBackend
    ) -> None:
        self.seen = Seen()
        self.began_s = time.monotonic()
        self._seconds = seconds
        self._agent = agent
        self._device = device
        self._broker = broker
        self._backend = backend
        self._tormentor = Tormentor(agent, LANE)
        self._handled = (0, time.monotonic())

    def run(self) -> Iterator[Seen]:
        """Each step begins at its share of the length; a step that waits for something delays the next."""
        yield from self._until(self._is_up, "starting", 60.0)
        self.began_s = time.monotonic()
        self._mark("start")
        yield from self._phase("all is well", 0.14)
        self._say("the broker is taken away")
        self._broker.kill()
        yield from self._phase("no network", 0.20)
        self._say("the motor overheats")
        self._device.fault(kind="overheating", severity=0.9, duration_s=max(self._seconds * 0.15, 10.0))
        yield from self._phase("no network, motor overheats", 0.38)
        self._say("the broker is back")
        self._broker.start()
        yield from self._phase("network back, backlog drains", 0.46)
        self._kill_worker()
        yield from self._phase("worker killed", 0.52)
        yield from self._until(self._is_serving, "waiting for the worker", 20.0)
        self._mark("hang")
        self._say("from now on the model hangs on every input")
        self._tormentor.start()
        yield from self._until(self._breaker_is_open, "model hangs", self._seconds * 0.35 + 20.0)
        self.seen.breaker_opened = self._breaker_is_open()
        self._tormentor.rest()
        self.seen.hung = len(self._tormentor.stopped)
        self._mark("dead")
        self._say("the breaker is open: rules decide alone" if self.seen.breaker_opened else "no breaker opened")
        yield from self._phase("model dead, rules only", 0.92, at_least_s=self._seconds * 0.12)
        self._mark("end")
        self.seen.phase = "finishing"

    def settle(self, timeout_s: float, done: Callable[[], bool]) -> Iterator[Seen]:
        """After the last sample: until everything is delivered."""
        yield from self._until(done, "delivering the rest", timeout_s)

    def _phase(self, name: str, share: float, at_least_s: float = 0.0) -> Iterator[Seen]:
        end_s = max(self.began_s + self._seconds * share, time.monotonic() + at_least_s)
        yield from self._until(lambda: time.monotonic() >= end_s, name, float("inf"))

    def _until(self, done: Callable[[], bool], name: str, timeout_s: float) -> Iterator[Seen]:
        """Looks at the agent, then at `done`, until it holds, the time is up, or the agent ended."""
        self.seen.phase = name
        end_s = time.monotonic() + timeout_s
        while self._agent.running() and time.monotonic() < end_s:
            self._look()
            if done():
                return
            yield self.seen
            time.sleep(0.1)

    def _look(self) -> None:
        status = self._agent.ask("status")
        if status is None:
            return
        self.seen.status = status
        if not self.seen.rungs or self.seen.rungs[-1] != status["rung"]:
            self.seen.rungs.append(status["rung"])
        handled, since_s = self._handled
        if status["engine"]["handled"] != handled:
            self._handled = (status["engine"]["handled"], time.monotonic())
        elif time.monotonic() - since_s > 1.0 and "start" in self.seen.counts and "end" not in self.seen.counts:
            self.seen.stalls += 1

    def _is_up(self) -> bool:
        lanes = self.seen.status.get("lanes", ())
        return bool(lanes) and all(lane["trust"] == "trusted" and lane["fresh"] for lane in lanes)

    def _is_serving(self) -> bool:
        return lane_of(self.seen.status, LANE).get("trust") == "trusted"

    def _breaker_is_open(self) -> bool:
        return lane_of(self.seen.status, LANE).get("trust") == "unavailable"

    def _kill_worker(self) -> None:
        pid = worker_pid(self.seen.status, LANE)
        if pid and signal_worker(pid, signal.SIGKILL):
            self.seen.killed += 1
            self._say(f"worker {pid} of {LANE} was killed")

    def _mark(self, moment: str) -> None:
        answer = self._agent.ask("latency")
        if answer:
            self.seen.counts[moment] = answer["counts"]

    def _say(self, event: str) -> None:
        self.seen.events.append(f"{time.monotonic() - self.began_s:5.1f} s  {event}")
