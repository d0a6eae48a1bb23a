"""clock.py: the stated error bound holds for every delay, asymmetry and drift within the allowance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.clock import ClockMap

trips = st.lists(
    st.tuples(st.integers(10_000, 10**10), st.integers(0, 10**8), st.integers(0, 10**8)), min_size=1, max_size=30
)


@given(st.integers(-(10**15), 10**15), st.integers(-190, 190), trips)
def test_the_true_offset_is_always_within_the_bound(offset, drift_ppm, trips):
    clock = ClockMap(drift_ppm=200)
    host = 10**15
    for pause, out, back in trips:
        sent = host + pause
        read_at = sent + out
        device_ns = max(0, 10**15 + offset + (read_at - 10**15) * (1_000_000 + drift_ppm) // 1_000_000)
        host = read_at + back
        assert clock.update(sent, device_ns // 1000, host) == 0
        device_now = max(0, 10**15 + offset + (host - 10**15) * (1_000_000 + drift_ppm) // 1_000_000)
        estimate, error = clock.offset(host)
        assert abs(host - device_now - estimate) <= error + 2


def test_a_better_round_trip_narrows_the_bound_and_time_widens_it():
    clock = ClockMap()
    clock.update(0, 0, 10_000_000)
    wide = clock.offset(10_000_000)[1]
    clock.update(20_000_000, 20_000, 21_000_000)
    narrow = clock.offset(21_000_000)[1]
    assert narrow < wide / 4
    assert clock.offset(100 * 10**9)[1] > narrow


def test_a_jump_is_reported_and_the_new_clock_taken():
    clock = ClockMap()
    clock.update(0, 0, 1_000_000)
    assert clock.update(2_000_000, 5_000_000, 3_000_000) > 10**9
    offset, error = clock.offset(3_000_000)
    assert abs(offset - (2_500_000 - 5_000_000_000)) <= error


@given(st.integers(0, 10**12), st.integers(1000, 10**9), st.integers(0, 10**10))
def test_a_deadline_is_never_after_the_hosts(device_us, trip, ttl):
    clock = ClockMap()
    sent = 10**13
    clock.update(sent, device_us, sent + trip)
    # The slowest clock that the round trip allows: the device read its time when the ping had just been sent.
    worst_offset = sent + trip - device_us * 1000
    deadline_us = clock.deadline_us(sent + trip + ttl, sent + trip)
    assert deadline_us == 0 or deadline_us * 1000 + worst_offset <= sent + trip + ttl


@given(st.integers(1, 100))
def test_a_deadline_far_ahead_allows_for_a_device_clock_that_runs_slow(seconds):
    clock = ClockMap(drift_ppm=200)
    clock.update(0, 0, 1_000_000)
    ttl = seconds * 10**9
    slow_device_us = (10**6 + ttl) * (1_000_000 - 200) // 1_000_000 // 1000 - 1_000
    assert clock.deadline_us(10**6 + ttl, 10**6) <= slow_device_us
