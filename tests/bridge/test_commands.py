"""Commands and the safe state: at most once, never late, read back, and never abandoned."""

from __future__ import annotations

import pytest

from firmware_bridge.errors import CommandRefused
from firmware_bridge.events import CommandEnded, CommandPending, Outcome, Restarted, SafeState
from firmware_bridge.messages import Status

from .device import raw
from .world import MS, World

VALVE, STEP, RATE, LAMP = range(4)


def ended(events):
    return [(event.id, event.outcome) for event in events if isinstance(event, CommandEnded)]


def acts(world, actuator):
    return [value for index, value, command in world.device.acts if index == actuator and command]


@pytest.fixture
def world():
    world = World()
    world.until_live()
    return world


def test_a_command_is_carried_out_and_read_back(world):
    number = world.command("valve", 12.5)
    (event,) = [event for event in world.run(50) if isinstance(event, CommandEnded)]
    assert event == CommandEnded(number, "valve", Outcome.DONE, 12.5, event.device_us)
    assert acts(world, VALVE) == [raw(12.5)]


@pytest.mark.parametrize(
    ("actuator", "value", "word"),
    [("valve", 100.5, "range"), ("valve", float("nan"), "f32"), ("valve", True, "f32"), ("step", 1.5, "i32"),
     ("step", -11, "range"), ("rate", -1, "u32"), ("lamp", 1, "bool"), ("vavle", 1.0, "valve")],
)  # fmt: skip
def test_a_wrong_command_is_refused_before_the_wire_with_a_hint(world, actuator, value, word):
    with pytest.raises(CommandRefused) as refused:
        world.session.command(actuator, value, 500 * MS, world.now)
    assert word in f"{refused.value} {refused.value.hint}"


def test_an_integer_is_good_enough_for_a_float_actuator(world):
    world.command("valve", 12)
    assert ended(world.run(50)) == [(1, Outcome.DONE)]


@pytest.mark.parametrize("seed", range(6))
def test_on_a_noisy_line_each_command_is_carried_out_at_most_once(seed):
    world = World(seed)
    world.until_live()
    world.noise = 0.01
    outcomes = []
    for value in range(40):
        world.command("rate", value)
        outcomes += ended(world.run(60))
    outcomes += ended(world.run(2500))
    done = [number for number, outcome in outcomes if outcome is Outcome.DONE]
    carried_out = acts(world, RATE)
    assert len(outcomes) == len({number for number, _ in outcomes})
    assert len(carried_out) == len(set(carried_out))
    assert len(done) <= len(carried_out)
    assert len(done) > 20


def test_a_lost_receipt_is_sent_again_and_nothing_is_carried_out_twice(world):
    world.command("rate", 5)
    for _ in range(4):
        world.run(1)
    world._to_host.clear()
    world.run(3)
    world._to_host.clear()
    assert ended(world.run(200)) == [(1, Outcome.DONE)]
    assert acts(world, RATE) == [5]


def test_a_command_that_comes_after_its_deadline_is_not_carried_out(world):
    world.plugged = False
    world.command("valve", 50.0, ttl_ms=100)
    world.run(90)
    world.plugged = True
    world.delay = 60 * MS
    world.run(20)
    assert ended(world.run(400)) == [(1, Outcome.EXPIRED)]
    assert acts(world, VALVE) == []


def test_a_command_without_any_receipt_ends_as_unknown(world):
    world.plugged = False
    world.command("valve", 50.0, ttl_ms=100)
    assert ended(world.run(1200)) == [(1, Outcome.UNKNOWN)]


def test_at_most_four_commands_wait_for_receipts(world):
    world.plugged = False
    numbers = [world.command("rate", value) for value in range(5)]
    assert numbers == [1, 2, 3, 4, None]


def test_a_failed_read_back_is_a_failed_command(world):
    world.device.actuate_returns(Status.FAILED)
    world.command("valve", 50.0)
    assert ended(world.run(50)) == [(1, Outcome.FAILED)]


def test_a_slow_actuator_answers_pending_first_and_then_its_end(world):
    world.device.actuate_returns(Status.PENDING)
    world.command("valve", 50.0, ttl_ms=50)
    events = world.run(2000)
    assert [event for event in events if isinstance(event, CommandPending)] == [CommandPending(1, "valve")]
    assert ended(events) == []
    assert world.device.actuated(1, Status.DONE, raw(49.5)) == 0
    (event,) = [event for event in world.run(50) if isinstance(event, CommandEnded)]
    assert (event.outcome, event.value) == (Outcome.DONE, 49.5)
    assert world.device.actuated(1, Status.DONE, raw(1.0)) == -2


def test_a_reboot_ends_the_commands_in_flight(world):
    world.device.actuate_returns(Status.PENDING)
    world.command("valve", 50.0)
    world.run(50)
    world.reboot(counter_survives=True)
    events = world.run(1000)
    assert [event for event in events if isinstance(event, Restarted)]
    assert ended(events) == [(1, Outcome.DEVICE_RESET)]


# ---- the safe state: silence_ms is 1,000 in the simulated device ----

SAFE_VALUES = [(VALVE, raw(5.0), 0), (STEP, 2**32 - 1, 0), (RATE, 0, 0), (LAMP, 1, 0)]


def test_actuators_are_safe_at_boot(world):
    assert world.device.acts == SAFE_VALUES


def test_a_killed_host_leaves_the_actuators_safe_within_the_declared_time(world):
    world.command("valve", 50.0)
    world.run(100)
    before = len(world.device.acts)
    world.kill_host()
    world.run(900)
    assert len(world.device.acts) == before
    world.run(105)
    assert world.device.acts[before:] == SAFE_VALUES


def test_the_safe_state_is_reported_when_the_host_is_back_and_ends_with_a_command(world):
    world.command("valve", 50.0)
    world.run(100)
    world.kill_host()
    world.run(10_000)
    world.start_host()
    (event,) = [event for event in world.run(1000) if isinstance(event, SafeState)]
    assert (event.active, event.cause, event.entries, event.unplaced) == (True, "silence", 2, ())
    assert 1_000_000 <= event.silent_us <= 1_002_000
    world.command("valve", 60.0)
    assert (1, Outcome.DONE) in ended(world.run(100))
    world.session.connected(world.now)
    (event,) = [event for event in world.run(1000) if isinstance(event, SafeState)]
    assert not event.active


def test_a_safe_state_during_a_pause_of_the_same_host_is_noticed(world):
    world.command("valve", 50.0)
    world.run(100)
    world.plugged = False
    world.run(1200)
    world.plugged = True
    events = [event for event in world.run(1000) if isinstance(event, SafeState)]
    assert [(event.active, event.cause) for event in events] == [(True, "silence")]


def test_an_actuator_that_does_not_take_its_safe_value_is_tried_again_and_named(world):
    world.command("valve", 50.0)
    world.run(100)
    world.device.actuate_returns(Status.FAILED)
    world.kill_host()
    world.run(1500)
    tries = len(world.device.acts)
    assert tries > 1000
    world.start_host()
    (event,) = [event for event in world.run(1000) if isinstance(event, SafeState)]
    assert event.unplaced == ("valve", "step", "rate", "lamp")
    world.device.actuate_returns(Status.DONE)
    world.run(5)
    assert world.device.acts[-4:] == SAFE_VALUES
    tries = len(world.device.acts)
    world.run(100)
    assert len(world.device.acts) == tries


def test_a_pending_command_ends_when_the_safe_state_comes(world):
    world.device.actuate_returns(Status.PENDING)
    world.command("valve", 50.0)
    world.run(50)
    world.device.safe()
    assert ended(world.run(100)) == [(1, Outcome.SAFED)]


def test_damaged_bytes_do_not_count_as_the_host_being_there(world):
    world.command("valve", 50.0)
    world.run(100)
    world.kill_host()
    before = len(world.device.acts)
    for _ in range(110):
        world.device.feed(b"\x05noise\x00")
        world.run(10)
    assert world.device.acts[before:] == SAFE_VALUES
