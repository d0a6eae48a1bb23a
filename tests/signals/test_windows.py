"""Every window equals the same function computed anew from all readings, after any history."""

from __future__ import annotations

import math
import statistics
from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.signals.windows import make_window

SECOND = 1_000_000_000
SAMPLE_FUNCTIONS = ("mean", "min", "max", "std", "range", "rate", "count", "percentile")
P = 90.0


def percentile(values, p):
    ordered = sorted(values)
    rank = p / 100 * (len(ordered) - 1)
    low = math.floor(rank)
    return ordered[low] + (ordered[math.ceil(rank)] - ordered[low]) * (rank - low)


def slope(samples):
    t0, v0 = samples[0]
    xs, ys = [(t - t0) / SECOND for t, _ in samples], [v - v0 for _, v in samples]
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    xx = math.fsum((x - mx) ** 2 for x in xs)
    return math.fsum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / xx if xx else None


def reference(fn, samples):
    """`fn` of (instant, value) pairs."""
    values = [value for _, value in samples]
    if fn == "count":
        return len(values)
    if not values:
        return None
    several = len(values) > 1
    return {
        "mean": lambda: statistics.fmean(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "range": lambda: max(values) - min(values),
        "std": lambda: statistics.stdev(values) if several else None,
        "rate": lambda: slope(samples) if several else None,
        "percentile": lambda: percentile(values, P),
    }[fn]()


def agree(got, want, scale):
    if want is None or got is None:
        return got is want
    return math.isclose(got, want, rel_tol=1e-6, abs_tol=1e-9 * scale + 1e-150)


# steps of time between readings (negative: late), a value, and whether the window is asked before the next one
HISTORY = st.lists(
    st.tuples(
        st.integers(-8, 12) | st.integers(0, 3) | st.just(200),
        st.integers(-1000, 1000).map(lambda n: n / 8) | st.floats(-1e6, 1e6),
        st.booleans(),
    ),
    max_size=120,
)


@pytest.mark.parametrize("fn", SAMPLE_FUNCTIONS)
@settings(max_examples=150, deadline=None)
@given(history=HISTORY, window=st.integers(1, 60))
def test_window_by_time_equals_recomputation_from_all_readings(fn, history, window):
    w = make_window(fn, window_ns=window * SECOND, p=P)
    kept, now, t = [], 0, 0
    for step, value, asked in history:
        t = max(0, t + step)
        now = max(now, t)
        w.push(t * SECOND, value)
        kept.append((t, value))
        if asked:
            inside = sorted([s for s in kept if s[0] > now - window], key=lambda s: s[0])
            want = reference(fn, [(at * SECOND, v) for at, v in inside])
            assert agree(w.value(now * SECOND), want, max((abs(v) for _, v in inside), default=0))
            leaves = (inside[0][0] + window) * SECOND if inside else None
            assert w.next_change(now * SECOND) == leaves


@pytest.mark.parametrize("fn", SAMPLE_FUNCTIONS)
@settings(max_examples=150, deadline=None)
@given(history=HISTORY, count=st.integers(1, 20))
def test_window_by_count_equals_recomputation_from_all_readings(fn, history, count):
    w = make_window(fn, count=count, p=P)
    kept, now, t = [], 0, 0
    for step, value, asked in history:
        t = max(0, t + step)
        now = max(now, t)
        w.push(t * SECOND, value)
        kept.append((t, value))
        kept = sorted(kept, key=lambda s: s[0])[-count:]
        if asked:
            want = reference(fn, [(at * SECOND, v) for at, v in kept])
            assert agree(w.value(now * SECOND), want, max((abs(v) for _, v in kept), default=0))
            assert w.next_change(now * SECOND) is None


def test_value_changes_exactly_when_next_change_says():
    w = make_window("mean", window_ns=10 * SECOND)
    w.push(1 * SECOND, 10.0)
    w.push(4 * SECOND, 20.0)
    at = w.next_change(4 * SECOND)
    assert at == 11 * SECOND
    assert w.value(at - 1) == 15.0
    assert w.value(at) == 20.0
    assert w.next_change(at) == 14 * SECOND
    assert w.value(14 * SECOND) is None
    assert w.next_change(14 * SECOND) is None


def test_reading_later_than_the_window_is_counted_and_left_out():
    w = make_window("mean", window_ns=10 * SECOND)
    w.push(100 * SECOND, 1.0)
    w.push(90 * SECOND, 1000.0)
    assert w.value(100 * SECOND) == 1.0
    assert w.late == 1
    w.value(200 * SECOND)
    w.push(150 * SECOND, 5.0)
    assert (w.value(200 * SECOND), w.late) == (None, 2)


def test_glitch_leaves_no_trace_once_it_left():
    """Float32's greatest value, as sensors send it for "no value", must not spoil sums that follow it."""
    for fn, want in (("mean", 20.5), ("std", statistics.stdev([20.0, 21.0] * 5)), ("range", 1.0), ("max", 21.0)):
        w = make_window(fn, window_ns=10 * SECOND)
        w.push(0, 3.4e38)
        for second in range(1, 11):
            w.push(second * SECOND, 20.0 + second % 2)
            w.value(second * SECOND)
        assert w.value(10 * SECOND) == pytest.approx(want, rel=1e-12), fn


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10**400])
def test_value_that_is_no_number_is_counted_and_left_out(bad):
    w = make_window("mean", window_ns=10 * SECOND)
    w.push(0, 1.0)
    w.push(1, bad)
    assert (w.value(1), w.ignored) == (1.0, 1)


def test_std_and_rate_keep_their_digits_on_a_large_offset():
    std, rate = make_window("std", count=100), make_window("rate", count=100)
    for i in range(250):
        std.push(i * SECOND, 1e9 + i % 2)
        rate.push(i * SECOND, 1e9 + 0.25 * i)
    assert std.value(0) == pytest.approx(statistics.stdev([0, 1] * 50), rel=1e-9)
    assert rate.value(0) == pytest.approx(0.25, rel=1e-9)


def test_absence_begins_at_its_deadline_and_ends_with_a_reading():
    w = make_window("absent", window_ns=30 * SECOND)
    assert (w.value(5 * SECOND), w.next_change(5 * SECOND)) == (False, 35 * SECOND)
    assert w.value(35 * SECOND) is True
    assert w.next_change(35 * SECOND) is None
    w.push(40 * SECOND, 1.0)
    assert (w.value(40 * SECOND), w.next_change(40 * SECOND)) == (False, 70 * SECOND)
    w.push(39 * SECOND, 1.0)
    assert w.value(70 * SECOND - 1) is False
    assert w.value(70 * SECOND) is True


def test_age_grows_in_steps_and_says_when():
    w = make_window("age")
    assert (w.value(0), w.next_change(0)) == (None, None)
    w.push(2 * SECOND, 1.0)
    assert w.value(int(4.7 * SECOND)) == 2.0
    assert w.next_change(int(4.7 * SECOND)) == 5 * SECOND
    assert w.value(5 * SECOND) == 3.0


def test_a_flood_stays_inside_its_memory_and_loses_no_extreme_and_no_count():
    names = ("mean", "max", "min", "count", "std", "rate", "percentile")
    windows = {name: make_window(name, window_ns=10 * SECOND, p=P, max_samples=100) for name in names}
    for i in range(30_000):  # 1,000 a second, ten times what is kept
        value = 500.0 if i == 29_001 else -500.0 if i == 29_002 else math.sin(i)
        for w in windows.values():
            w.push(i * SECOND // 1000, value)
            w.value(i * SECOND // 1000)
    now = 29_999 * SECOND // 1000
    assert windows["max"].value(now) == 500.0
    assert windows["min"].value(now) == -500.0
    assert windows["count"].value(now) == pytest.approx(10_000, abs=100)
    assert windows["mean"].value(now) == pytest.approx(0, abs=0.2)
    for name, w in windows.items():
        assert len(w) <= 200, name
        assert w.thinned > 29_000 * 0.8


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"fn": "mean"}, "by time or by count"),
        ({"fn": "mean", "window_ns": 1, "count": 1}, "not both"),
        ({"fn": "mean", "count": 0}, "more than nothing"),
        ({"fn": "absent", "count": 3}, "absent needs"),
        ({"fn": "percentile", "count": 3}, "needs p"),
        ({"fn": "percentile", "count": 3, "p": 101.0}, "needs p"),
        ({"fn": "median", "count": 3}, "median"),
        ({"fn": "age", "count": 3}, "takes no count"),
    ],
)
def test_window_that_cannot_be_is_refused_with_the_reason(kwargs, reason):
    with pytest.raises(ValueError, match=reason):
        make_window(**kwargs)


@pytest.mark.slow
def test_a_year_of_readings_does_not_drift():
    """525,600 readings, one a minute, on a large offset: mean, std and rate of the last hour stay exact."""
    names = ("mean", "std", "rate")
    windows = {name: make_window(name, window_ns=3600 * SECOND) for name in names}
    tail = []
    for minute in range(525_600):
        value = 1e6 + 0.1 * (minute % 7) + (1e12 if minute % 50_000 == 0 else 0.0)
        tail.append((minute * 60 * SECOND, value))
        for w in windows.values():
            w.push(minute * 60 * SECOND, value)
        if minute % 1000 == 999:
            tail = tail[-60:]
            for name, w in windows.items():
                want = reference(name, tail)
                assert math.isclose(w.value(minute * 60 * SECOND), want, rel_tol=1e-9, abs_tol=1e-12), (name, minute)


@pytest.mark.parametrize("fn", ["mean", "min", "max", "std", "range", "rate"])
def test_window_that_ran_empty_by_time_alone_is_unknown_and_fills_again(fn):
    window = make_window(fn, window_ns=10)
    window.push(1, 5.0)
    window.push(5, 6.0)
    window.value(12)  # one left, and the other is all that the front holds
    assert window.value(20) is None
    assert window.next_change(20) is None
    window.push(40, 1.0)
    window.push(41, 1.0)
    assert window.value(41) == {"mean": 1.0, "min": 1.0, "max": 1.0}.get(fn, 0.0)


def test_percentile_of_many_samples_is_exact_while_they_come_and_go():
    """5,000 samples in many blocks, drifting upwards, so that blocks split, empty and go."""
    rng = Random(3)
    w, recent = make_window("percentile", count=5_000, p=37.0), deque(maxlen=5_000)
    for i in range(20_000):
        value = rng.gauss(i / 1000, 1.0) if i % 3 else float(i // 1000)
        w.push(i, value)
        recent.append(value)
        if i % 1999 == 0:
            assert w.value(i) == pytest.approx(percentile(recent, 37.0), rel=1e-12), i
    assert len(w._times) < 3 * 5_000
