"""The body's promises: one receipt for each action, the newest value wins, no try after the deadline."""

import random
import threading
import time

import pytest
from acts import CLOCK, act

from edge_agent.actuators.body import MAX_TARGETS, ActuatorBody
from edge_agent.errors import Rejected, Retryable
from edge_agent.health import PartHealth
from edge_agent.types import HealthChange, Receipt


class ScriptedActuator:
    """An ordinary actuator whose outcomes a test decides; `script(action)` raises, waits or returns."""

    def __init__(self, script=lambda _action: None):
        self.script = script
        self.applied = []
        self.timeouts = []
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1
        return self

    def apply(self, action, timeout_s):
        self.timeouts.append(timeout_s)
        self.applied.append((action.target, action.value))
        self.script(action)
        return Receipt(action.id, action.actuator, True, CLOCK.now(), read_back=action.value)

    def close(self):
        self.closed += 1


class Running:
    """A body on its thread, with what it posted."""

    def __init__(self, opener, deadline_s=1.0):
        self.events = []
        self._news = threading.Condition()
        self.health = PartHealth("press")
        self.body = ActuatorBody(
            "press", opener=opener, deadline_s=deadline_s, post=self._post, clock=CLOCK, health=self.health
        )
        self.thread = threading.Thread(target=self.body.run, daemon=True)

    def _post(self, events):
        with self._news:
            self.events += events
            self._news.notify_all()

    def receipts(self, n=1, timeout_s=5.0):
        with self._news:
            assert self._news.wait_for(lambda: len(self._receipts()) >= n, timeout_s), self.events
            return {receipt.action_id: receipt for receipt in self._receipts()}

    def _receipts(self):
        return [event for event in self.events if isinstance(event, Receipt)]

    def changes(self):
        return [(event.up, event.reason) for event in self.events if isinstance(event, HealthChange)]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.body.stop()
        self.thread.join(5.0)
        assert not self.thread.is_alive()


def failing(times, error):
    """A script that raises `error` so many times."""
    left = [times]

    def script(_action):
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return script


def test_an_action_is_done_and_says_so_and_the_driver_is_opened_once():
    actuator = ScriptedActuator()
    with Running(actuator.open) as run:
        assert actuator.opened == 0, "opened when there is something to do"
        for n in range(3):
            run.body.submit(act(n, value=n))
            receipt = run.receipts(n + 1)[n]
            assert (receipt.done, receipt.read_back) == (True, n)
    assert (actuator.opened, actuator.closed) == (1, 1)
    assert run.changes() == [(True, "")]


def test_a_failing_try_is_repeated_on_a_fresh_connection_and_the_link_is_reported():
    actuator = ScriptedActuator(failing(3, Retryable("no answer", hint="look")))
    with Running(actuator.open) as run:
        run.body.submit(act(1))
        assert run.receipts()[1].done
    assert (actuator.opened, actuator.closed) == (4, 4)
    assert run.changes() == [(False, "no answer; look"), (True, "")]
    assert run.health.value("retries") == 3
    assert run.health.value("failed") == 0


def test_a_device_that_cannot_be_opened_fails_at_the_deadline_with_its_reason():
    def opener():
        raise Retryable("/dev/x: no such device")

    with Running(opener, deadline_s=0.5) as run:
        start = time.monotonic()
        run.body.submit(act(1))
        receipt = run.receipts()[1]
        assert 0.45 <= time.monotonic() - start < 0.8
    assert (receipt.done, receipt.superseded, receipt.detail) == (False, False, "/dev/x: no such device")


def test_a_refusal_is_final():
    actuator = ScriptedActuator(failing(9, Rejected("interlock")))
    with Running(actuator.open) as run:
        run.body.submit(act(1))
        receipt = run.receipts()[1]
    assert (receipt.done, receipt.detail) == (False, "interlock")
    assert len(actuator.applied) == 1
    assert run.changes() == [], "the link works"


def test_the_newest_value_for_a_target_supersedes_those_that_wait():
    release = threading.Event()
    actuator = ScriptedActuator(lambda _action: release.wait(5.0))
    with Running(actuator.open, deadline_s=10.0) as run:
        run.body.submit(act(1, value=1))
        while not actuator.applied:
            time.sleep(0.001)
        for n in (2, 3, 4):
            run.body.submit(act(n, value=n))
        run.body.submit(act(5, target="lamp"))
        release.set()
        receipts = run.receipts(5)
    assert actuator.applied == [("relay", 1), ("relay", 4), ("lamp", 1)]
    assert [receipts[n].done for n in (1, 2, 3, 4, 5)] == [True, False, False, True, True]
    assert [receipts[n].superseded for n in (2, 3)] == [True, True]
    assert receipts[2].detail == "superseded by action 3"


@pytest.mark.parametrize("meanwhile", [True, False], ids=["during the try", "between tries"])
def test_a_retry_gives_way_to_a_newer_value(meanwhile):
    newer_is_there = threading.Event()

    def script(action):
        if action.value == 1:
            newer_is_there.wait(2.0 if meanwhile else 0.0)
            raise Retryable("busy")

    actuator = ScriptedActuator(script)
    with Running(actuator.open, deadline_s=5.0) as run:
        run.body.submit(act(1, value=1))
        while not (actuator.applied if meanwhile else run.health.value("retries")):
            time.sleep(0.001)
        run.body.submit(act(2, value=0))
        newer_is_there.set()
        receipts = run.receipts(2)
        time.sleep(0.3)
    assert actuator.applied[-1] == ("relay", 0), "the old value never follows the new one"
    assert (receipts[1].superseded, receipts[2].done) == (True, True)


def test_a_target_that_fails_holds_up_no_other():
    def script(action):
        if action.target == "stuck":
            time.sleep(0.05)
            raise Retryable("stuck")

    actuator = ScriptedActuator(script)
    with Running(actuator.open, deadline_s=2.0) as run:
        run.body.submit(act(1, target="stuck"))
        time.sleep(0.2)
        start = time.monotonic()
        run.body.submit(act(2, target="relay"))
        while 2 not in run.receipts(0):
            time.sleep(0.001)
        assert time.monotonic() - start < 0.3
        assert not run.receipts(2)[1].done


def test_one_try_gets_a_part_of_the_time_and_none_is_begun_after_the_deadline():
    actuator = ScriptedActuator(lambda _action: time.sleep(0.3))
    with Running(actuator.open, deadline_s=0.5) as run:
        for n, target in enumerate(("a", "b", "c", "d")):
            run.body.submit(act(n, target=target))
        receipts = run.receipts(4)
    assert [receipts[n].done for n in range(4)] == [True, True, False, False]
    assert receipts[3].detail == "its time was up before its first try"
    assert all(timeout_s <= 0.126 for timeout_s in actuator.timeouts)


def test_more_targets_than_the_inbox_holds_are_refused_at_once():
    release = threading.Event()
    actuator = ScriptedActuator(lambda _action: release.wait(5.0))
    with Running(actuator.open, deadline_s=60.0) as run:
        for n in range(MAX_TARGETS + 2):
            run.body.submit(act(n, target=f"t{n}"))
            while not actuator.applied:
                time.sleep(0.001)
        (refused,) = run.receipts(1).values()
        assert (refused.action_id, refused.done) == (MAX_TARGETS + 1, False)
        release.set()
        assert sum(r.done for r in run.receipts(MAX_TARGETS + 2).values()) == MAX_TARGETS + 1


def test_what_waits_at_the_stop_gets_a_receipt_and_what_comes_after_is_refused():
    actuator = ScriptedActuator(failing(99, Retryable("away")))
    with Running(actuator.open, deadline_s=60.0) as run:
        run.body.submit(act(1))
        while not actuator.applied:
            time.sleep(0.001)
    run.body.submit(act(2))
    receipts = run.receipts(2)
    assert (receipts[1].done, receipts[1].detail) == (False, "away")
    assert (receipts[2].done, receipts[2].detail) == (False, "the agent stops")


def test_a_bug_in_the_driver_ends_the_thread_but_the_action_has_its_receipt():
    actuator = ScriptedActuator(failing(1, ZeroDivisionError("bug")))
    run = Running(actuator.open)
    run.body.submit(act(1))
    with pytest.raises(ZeroDivisionError):
        run.body.run()
    assert not run.receipts()[1].done
    assert actuator.closed == 1
    with run:  # as the supervisor does: the body runs again
        run.body.submit(act(2))
        assert run.receipts(2)[2].done


def test_every_action_gets_exactly_one_receipt_and_the_last_value_wins():
    rng = random.Random(7)

    def script(_action):
        kind = rng.random()
        if kind < 0.3:
            raise Retryable("sometimes")
        if kind < 0.35:
            raise Rejected("no")
        time.sleep(0.001)

    actuator = ScriptedActuator(script)
    with Running(actuator.open, deadline_s=5.0) as run:
        for n in range(300):
            run.body.submit(act(n, target=f"t{n % 7}", value=n))
            time.sleep(0.001)
        run.receipts(300, timeout_s=20.0)
    receipts = [event for event in run.events if isinstance(event, Receipt)]
    assert sorted(r.action_id for r in receipts) == list(range(300))
    for target in {f"t{n}" for n in range(7)}:
        values = [value for t, value in actuator.applied if t == target]
        assert values == sorted(values), "no older value after a newer one"
    counts = run.health.to_dict(0)["counts"]
    assert counts["done"] + counts.get("failed", 0) + counts.get("superseded", 0) == 300
