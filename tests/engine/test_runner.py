"""The engine's thread: what leaves when, and the latency that it reports."""

from __future__ import annotations

from typing import Any

from edge_agent.clock import FakeClock
from edge_agent.inbox import Inbox
from edge_agent.runner import Runner
from edge_agent.types import Act, Effect
from tests.engine.sites import OVERHEAT, engine, reading


class Relay:
    """Notes how far the engine was when an action came, and turns the clock by a millisecond."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.seen: list[tuple[Any, float]] = []
        self.runner: Runner | None = None

    def submit(self, act: Act) -> None:
        assert self.runner is not None
        self.seen.append((act.value, self.runner.now.mono_ns / 1e9))
        self._clock.advance(0.001)


class NoLane:
    def submit_window(self, infer: object, *, waiting: bool) -> None:
        pass


def run_slice(*readings: Any) -> tuple[Runner, Relay, list[Effect]]:
    """All of them wait in the inbox when the engine begins."""
    clock = FakeClock(mono_ns=2_000_000_000)
    relay, inbox, kept = Relay(clock), Inbox(), list[Effect]()
    runner = Runner(
        engine(OVERHEAT), inbox, clock, keep=kept.extend, actuators={"press": relay}, lanes={"bearing": NoLane()},
        sinks=[], watch=lambda _: None, unpaced=False,
    )  # fmt: skip
    relay.runner = runner
    inbox.feed("motor").offer(readings)
    runner.stop()
    runner.run()
    return runner, relay, kept


def test_an_action_does_not_wait_for_readings_that_were_taken_with_its_own() -> None:
    _, relay, kept = run_slice(reading(3, temp=95.0), reading(4, temp=70.0), reading(5, temp=60.0))
    assert relay.seen == [(0, 2.0), (1, 3.0)], "each leaves before the next reading is looked at"
    assert len(kept) >= 5


def test_latency_of_each_reading_ends_when_its_own_actions_have_left() -> None:
    runner, _, _ = run_slice(reading(1.999, temp=95.0), reading(1.9995, temp=70.0))
    assert runner.latency.count == 2
    assert runner.latency.sum_us == (2001 - 1999) * 1000 + 2002_000 - 1999_500
