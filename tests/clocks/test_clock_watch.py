"""When the wall clock counts, and what is noticed when it is set: by what the clocks and the kernel say alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import TOLERANCE_NS, FakeClock
from edge_agent.clock_watch import ClockWatch, Kernel
from edge_agent.types import ClockQuality

S = 1_000_000_000
NOW = 1_795_000_000 * S
FLOOR = NOW - 86_400 * S
SYNCED, UNSYNCED, SILENT = Kernel(True, 40), Kernel(False, 16_000), Kernel(None)


def watch(vouching="ntp"):
    return ClockWatch(vouching, FLOOR, released_ns=FLOOR)


def test_a_clock_is_right_when_the_kernel_says_so_and_not_before_what_has_passed():
    w = watch()
    assert w.look(5 * S, NOW, UNSYNCED).why.startswith("no time service sets it; start one")
    assert w.look(6 * S, 1000 * S, SYNCED).why.startswith("it shows a time that has passed already, before this")
    look = w.look(7 * S, NOW, SYNCED)
    assert (look.synced, look.lead_ns, look.uncertainty_ms) == (True, NOW - 7 * S, 40)


def test_the_lead_is_told_once_and_again_when_it_moved():
    w = watch()
    assert w.look(1 * S, NOW, SYNCED).lead_ns == NOW - S
    assert w.look(2 * S, NOW + S, SYNCED).lead_ns is None
    assert w.look(3 * S, NOW + 2 * S + TOLERANCE_NS, SYNCED).lead_ns is None
    moved = w.look(4 * S, NOW + 6 * S, SYNCED)
    assert (moved.lead_ns, moved.stepped_ns, moved.trusted_before) == (NOW + 2 * S, 3 * S, True)


def test_a_step_that_no_time_service_made_is_not_believed_and_the_lead_stays():
    w = watch()
    w.look(1 * S, NOW, SYNCED)
    back = w.look(2 * S, NOW + S - 3600 * S, UNSYNCED)
    assert (back.synced, back.stepped_ns, back.trusted_before) == (False, -3600 * S, True)
    forward = w.look(3 * S, NOW + 2 * S + 31_536_000 * S, UNSYNCED)
    assert (forward.synced, forward.stepped_ns) == (False, (31_536_000 + 3600) * S)
    assert w.lead_ns == NOW - S
    again = w.look(4 * S, NOW + 3 * S, SYNCED)
    assert (again.synced, again.lead_ns) == (True, None), "it is what it was"


def test_the_boxs_own_clock_is_believed_until_somebody_sets_it():
    w = watch("rtc")
    assert not w.look(1 * S, 5 * S, UNSYNCED).synced, "1970"
    assert w.look(2 * S, NOW, UNSYNCED).lead_ns == NOW - 2 * S
    assert not w.look(3 * S, NOW + S - 3600 * S, UNSYNCED).synced
    assert not w.look(4 * S, NOW + 31_536_000 * S, UNSYNCED).synced
    assert w.look(5 * S, NOW + 3 * S, UNSYNCED).synced


def test_where_the_kernel_may_not_be_asked_the_floor_is_all_there_is():
    w = watch()
    assert not w.look(1 * S, FLOOR - 1, SILENT).synced
    assert w.look(2 * S, NOW, SILENT).synced


@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.sampled_from([SYNCED, UNSYNCED, SILENT])), max_size=30))
def test_whatever_is_set_a_known_lead_only_moves_to_one_that_was_vouched_for(steps):
    w = watch()
    mono, wall = 0, NOW
    vouched = set()
    for step, kernel in steps:
        mono, wall = mono + S, wall + S + step
        look = w.look(mono, wall, kernel)
        if look.synced:
            vouched.add(wall - mono)
        assert not look.synced or (kernel.synced is not False and wall >= FLOOR)
        assert w.lead_ns is None or any(abs(w.lead_ns - lead) <= TOLERANCE_NS for lead in vouched)


@pytest.mark.parametrize("step_s", [-3600, 0.06, 31_536_000])
def test_the_first_stamp_after_a_step_is_guessed_already(step_s):
    clock = FakeClock(wall_ns=NOW)
    clock.trust(NOW)
    assert clock.now().quality is ClockQuality.SYNCED
    clock.advance(1000)
    assert clock.now().quality is ClockQuality.SYNCED
    clock.step_wall(step_s)
    assert clock.now().quality is ClockQuality.GUESSED
    clock.step_wall(-step_s)
    assert clock.now().quality is ClockQuality.SYNCED
