"""From the device's ring to the host's commit: received + declared = produced, no wrong value, on any line."""

from __future__ import annotations

import random

import pytest

from firmware_bridge.events import Batch, Gap, GapReason, Restarted, Silent
from firmware_bridge.session import Session, State

from .world import World, ready


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def settle(world: World) -> None:
    """A quiet, whole line for long enough that all that can come has come."""
    world.noise = 0
    if not world.host_up:
        world.start_host()
    if not world.plugged:
        world.plug()
    world.run(4000)
    assert world.session.state is State.LIVE
    world.commit()
    world.run(500)
    assert world.device.acked == world.device.next


def test_plugging_in_is_enough_streams_come_by_name_and_unit():
    world = World()
    (event,) = ready(world.run(100))
    assert [(s.name, s.unit) for s in event.device.streams] == [
        ("count", "1"), ("temp", "Cel"), ("level", "mm"), ("door", "1")]  # fmt: skip
    assert event.device.id == "sim-1"
    assert event.device.refused == ()


def timed(world: World) -> bool:
    batches = of(Batch, world.events)
    return bool(batches) and all(batch.offset_ns is not None for batch in batches)


@pytest.mark.parametrize("delay_ms", [2, 200], ids=["quick", "slower-than-two-hellos"])
def test_the_backlog_of_a_board_has_its_own_times_when_the_host_starts(delay_ms):
    world = World(delay_ms=delay_ms)
    world.kill_host()
    world.run(1000, sample_every_ms=10)
    world.start_host()
    world.run(3000)
    assert timed(world)
    first = of(Batch, world.events)[0]
    assert first.error_ns <= 2 * delay_ms * 1_000_000
    assert abs(first.device_us[0] * 1000 + first.offset_ns - (10**9 + 10 * 1_000_000)) <= first.error_ns + 10_000_000


def test_a_board_that_started_anew_has_its_times_from_the_first_sample():
    world = World()
    world.run(500, sample_every_ms=10)
    world.reboot(counter_survives=True)
    world.run(500, sample_every_ms=10)
    assert of(Restarted, world.events)
    assert timed(world)


def test_nothing_is_acknowledged_before_the_commit():
    world = World()
    world.commit_every = 10**15
    world.until_live()
    world.run(500, sample_every_ms=5)
    assert of(Batch, world.events)
    assert world.device.acked == 0
    world.commit()
    world.run(20)
    assert world.device.acked > 90


def test_samples_not_committed_by_a_killed_host_come_again():
    world = World()
    world.commit_every = 10**15
    world.run(300, sample_every_ms=5)
    world.commit()
    world.run(300, sample_every_ms=5)
    world.kill_host()
    world.run(200, sample_every_ms=5)
    world.start_host()
    world.commit_every = 10**8
    settle(world)
    assert world.account() == (world.device.next, 0, 0)


def test_a_full_ring_overwrites_the_oldest_and_says_so():
    world = World(ring=64)
    world.run(500, sample_every_ms=5)
    world.kill_host()
    world.run(1000, sample_every_ms=5)
    world.start_host()
    settle(world)
    received, declared, unknown = world.account()
    assert declared > 100
    assert unknown == 0
    assert {gap.reason for gap in of(Gap, world.committed)} == {GapReason.OVERWRITTEN}
    assert world.device.stats["overwritten"] == declared
    assert received + declared == world.device.next


def test_a_slow_commit_makes_the_device_overwrite_only_what_the_host_already_has():
    world = World(ring=64)
    world.commit_every = 10**15
    world.until_live()
    world.run(2000, sample_every_ms=5)
    world.commit()
    settle(world)
    assert world.account() == (world.device.next, 0, 0)


def test_a_reset_whose_counter_survives_has_a_gap_with_a_known_end():
    world = World()
    world.run(500, sample_every_ms=5)
    world.unplug()
    world.run(200, sample_every_ms=5)
    world.reboot(counter_survives=True)
    world.plug()
    world.run(500, sample_every_ms=5)
    settle(world)
    _, declared, unknown = world.account()
    assert declared >= 40
    assert unknown == 0
    (gap,) = of(Gap, world.committed)
    assert gap.reason is GapReason.DEVICE_RESET


def test_a_reset_that_loses_its_counter_has_a_gap_with_an_open_end():
    world = World()
    world.run(500, sample_every_ms=5)
    world.unplug()
    world.run(200, sample_every_ms=5)
    world.reboot(counter_survives=False)
    world.plug()
    settle(world)
    _, declared, unknown = world.account()
    assert declared == 0
    assert unknown >= 40


def test_a_boot_that_was_never_heard_is_declared_too():
    world = World()
    world.run(500, sample_every_ms=5)
    world.unplug()
    for _ in range(2):
        world.run(200, sample_every_ms=5)
        world.reboot(counter_survives=True)
    world.plug()
    settle(world)
    gaps = [(gap.boot, gap.first == 0, gap.end is None) for gap in of(Gap, world.committed)]
    assert gaps == [(1, False, True), (2, True, False)]
    world.account()


def test_rollback_under_the_same_boot_id_is_a_restart_and_no_duplicate():
    world = World()
    world.run(500, sample_every_ms=5)
    world.reboot(counter_survives=False, boot=1)
    events = world.run(1500, sample_every_ms=5)
    assert [event.rolled_back for event in of(Restarted, events)] == [True]
    numbers = [event.first for event in of(Batch, events)]
    assert 0 in numbers
    assert of(Gap, events)[0].end is None
    assert all(cursor.life == 1 for cursor in [events[-1].cursor] if hasattr(events[-1], "cursor"))


def test_a_late_commit_of_an_earlier_life_acknowledges_nothing():
    world = World()
    world.commit_every = 10**15
    world.run(500, sample_every_ms=5)
    old = of(Batch, world.events)[-1].cursor
    world.reboot(counter_survives=False, boot=1)
    world.run(3000, sample_every_ms=5)
    world.session.commit(old)
    world.run(100)
    assert world.device.acked == 0


def test_rollback_is_seen_by_the_devices_clock_when_its_counter_is_already_ahead():
    world = World()
    world.run(3000, sample_every_ms=500)
    world.unplug()
    world.reboot(counter_survives=False, boot=1)
    world.device.count(50)
    world.run(50)
    world.plug()
    events = world.run(1000)
    assert [event.rolled_back for event in of(Restarted, events)] == [True]
    assert sum(len(event.values) for event in of(Batch, events)) == 50


def test_a_cursor_restored_from_a_backup_finds_its_samples_freed_and_says_so():
    world = World()
    world.run(500, sample_every_ms=5)
    old = of(Batch, world.committed)[5].cursor
    world.kill_host()
    world._cursor = old
    world.start_host()
    events = world.run(1000, sample_every_ms=5)
    (gap,) = of(Gap, events)
    assert (gap.first, gap.reason) == (old.next, GapReason.OVERWRITTEN)
    assert of(Batch, events)[0].first == gap.end


def test_sample_numbers_wrap_without_harm():
    world = World()
    world.device.start_at(2**32 - 50)
    world.run(100)
    world.run(1000, sample_every_ms=5)
    world.commit()
    world.run(600)
    firsts = [event.first for event in of(Batch, world.events)]
    assert firsts[0] >= 2**32 - 50
    assert firsts[-1] < 2**31
    values = [value for event in of(Batch, world.committed) for value in event.values]
    assert values == [(2**32 - 50 + i) % 2**32 for i in range(len(values))]
    assert not of(Gap, world.events)
    assert world.device.acked == world.device.next


def test_a_lost_last_frame_is_asked_for_again():
    world = World()
    world.until_live()
    world.run(500)
    world.noise = 1.0
    world.device.count()
    world.run(3)
    world.noise = 0.0
    world.run(1000)
    assert sum(len(event.values) for event in of(Batch, world.events)) == 1


def test_a_silent_device_is_reported_and_greeted_until_it_answers():
    world = World()
    world.until_live()
    world.plugged = False
    events = world.run(3000)
    assert len(of(Silent, events)) == 1
    world.plugged = True
    assert ready(world.run(1000))


def test_samples_faster_than_declared_are_dropped_and_declared():
    from firmware_bridge.session import Limits

    world = World(ring=4096)
    world.session = Session(9, limits=Limits(max_samples_per_s=100))
    world.session.connected(world.now)
    world.until_live()
    for _ in range(100):
        world.device.count(50)
        world.run(10)
    settle(world)
    received, declared, unknown = world.account()
    assert {gap.reason for gap in of(Gap, world.committed)} == {GapReason.RATE_LIMIT}
    assert received + declared == 5000
    assert 500 <= received <= 1100
    assert unknown == 0


def campaign(seed: int, happenings: int) -> tuple[int, int, int]:
    dice = random.Random(seed)
    world = World(seed, ring=dice.choice((16, 64, 1024)), noise=dice.choice((0, 1e-4, 1e-3, 1e-2)))
    world.commit_every = dice.choice((10, 100, 1000)) * 1_000_000
    for _ in range(happenings):
        act = dice.randrange(6)
        if act == 0 and world.plugged:
            world.unplug()
        elif act == 1 and not world.plugged:
            world.plug()
            world.device.reconnected()
        elif act == 2 and world.host_up:
            world.kill_host()
        elif act == 3 and not world.host_up:
            world.start_host()
        elif act == 4 and dice.random() < 0.5:
            world.reboot(counter_survives=dice.random() < 0.7)
        world.run(dice.randrange(20, 900), sample_every_ms=dice.choice((1, 3, 10)))
    settle(world)
    return world.account()


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 12))])
def test_every_sample_is_received_once_or_declared(seed):
    received, declared, _ = campaign(seed, 12)
    assert received + declared > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_every_sample_is_received_once_or_declared_long(seed):
    campaign(seed, 60)
