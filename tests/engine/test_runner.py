"""The engine's thread: what leaves when, and the latency that it reports."""

from __future__ import annotations

from typing import Any

from edge_agent.clock import FakeClock
from edge_agent.inbox import Feed, Inbox
from edge_agent.runner import Runner
from edge_agent.types import Act, Effect, Infer, Record, RecordPrediction
from tests.engine.sites import OVERHEAT, engine, prediction, reading


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

    def wait_answered(self, timeout_s: float) -> bool:
        return True


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


class SlowLane:
    """Answers a window only once somebody waits for it, as a slow model does."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._asked: list[Infer] = []

    def submit_window(self, infer: Infer, *, waiting: bool) -> None:
        self._asked.append(infer)

    def wait_answered(self, timeout_s: float) -> bool:
        self._feed.offer([prediction(i.stamp.mono_ns / 1e9, 0.5, i.number) for i in self._asked])
        self._asked.clear()
        return True


def test_in_a_replay_a_window_is_answered_before_the_next_event_however_slow_its_model() -> None:
    clock, inbox, kept = FakeClock(), Inbox(), list[Effect]()
    lane = SlowLane(inbox.feed("lane:bearing"))
    runner = Runner(
        engine(), inbox, clock, keep=kept.extend, actuators={}, lanes={"bearing": lane}, sinks=[],
        watch=lambda _: None, unpaced=True,
    )  # fmt: skip
    inbox.feed("motor").offer([reading(k, temp=20.0, load=1.0) for k in range(8)])
    runner.stop()
    runner.run()
    order = [effect.seq for effect in kept if isinstance(effect, Record)]
    answered = [k for k, effect in enumerate(kept) if isinstance(effect, RecordPrediction)]
    assert order == list(range(8))
    # a window of four, every second reading: its answer stands right behind the reading that filled it
    assert [kept[k - 1].seq for k in answered] == [3, 5, 7]
