"""The simulated motor: the same life for the same seed, faults when asked for, and no slower than told."""

from __future__ import annotations

import statistics
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import EndOfInput
from edge_agent.sources import simulated
from edge_agent.sources.motor_sensors import FIELDS, Fault, InstrumentedMotor


def open_motor(clock=None, **config):
    context = SimpleNamespace(name="motor", clock=clock or FakeClock(), counters=Counter())
    return simulated.open(msgspec.convert(config, simulated.Config), context)


def drain(source):
    readings = []
    while True:
        try:
            readings += source.read(0)
        except EndOfInput:
            return readings


def column(field, seed=3, faults=(), samples=6000, skip=3000):
    motor = InstrumentedMotor(seed, faults)
    return [motor.sample(0.1)[field] for _ in range(samples)][skip:]


def test_same_seed_gives_the_same_readings():
    first, second, other = (drain(open_motor(speed="max", count=500, seed=seed)) for seed in (7, 7, 8))
    assert first == second
    assert [r.values for r in first] != [r.values for r in other]


def test_faster_than_real_time_keeps_event_time_exact():
    readings = drain(open_motor(speed="max", count=1000, rate_hz=8))
    assert len(readings) == 1000
    assert [r.stamp.mono_ns for r in readings] == [n * 125_000_000 for n in range(1000)]
    assert {r.stamp.wall_ns - r.stamp.mono_ns for r in readings} == {readings[0].stamp.wall_ns}


def test_real_time_gives_what_is_due_and_no_more():
    clock = FakeClock(mono_ns=5_000_000_000)
    source = open_motor(clock, rate_hz=10)
    assert len(source.read(0)) == 1
    assert source.read(0) == []
    clock.advance(0.35)
    clock.step_wall(3600)
    readings = source.read(0)
    assert [r.stamp.mono_ns for r in readings] == [5_100_000_000, 5_200_000_000, 5_300_000_000]
    assert readings[-1].stamp.wall_ns == clock.now().wall_ns - 50_000_000


def test_a_pause_of_the_agent_loses_no_reading():
    clock = FakeClock()
    source = open_motor(clock, rate_hz=1000)
    source.read(0)
    clock.advance(1.0)
    total = sum(len(source.read(0)) for _ in range(10))
    assert total == 1000


def test_healthy_motor_stays_inside_its_ratings():
    for field, spec in FIELDS.items():
        values = column(field)
        assert spec.min < min(values)
        assert max(values) < spec.max
    assert max(column("temp")) < 75
    assert max(column("vibration")) < 1.8


def test_load_drives_current_speed_and_after_a_while_temperature():
    motor = InstrumentedMotor(5)
    rows = [motor.sample(0.1) for _ in range(20_000)]
    load = [row["load"] for row in rows]
    assert statistics.correlation(load, [row["current"] for row in rows]) > 0.95
    assert statistics.correlation(load, [row["speed"] for row in rows]) < -0.8
    temp = [row["temp"] for row in rows]
    now = statistics.correlation(load, temp)
    later = statistics.correlation(load[:-300], temp[300:])
    assert later > now > 0


@pytest.mark.parametrize(
    ("kind", "field", "above"),
    [("bearing_wear", "vibration", 3.0), ("blocked_cooling", "temp", 85.0), ("overheating", "temp", 85.0)],
)
def test_fault_of_the_machine_shows_in_its_field(kind, field, above):
    assert statistics.fmean(column(field)) < above < statistics.fmean(column(field, faults=[Fault(kind=kind)]))


def test_fault_leaves_what_came_before_it_untouched():
    healthy = column("vibration", skip=0)
    worn = column("vibration", faults=[Fault(kind="bearing_wear", start_s=300.0)], skip=0)
    differs = next(i for i, (a, b) in enumerate(zip(healthy, worn, strict=True)) if a != b)
    assert differs == pytest.approx(3000, abs=1)


def test_stuck_sensor_repeats_and_its_neighbours_go_on():
    faults = [Fault(kind="sensor_stuck", field="temp", start_s=10.0)]
    assert len(set(column("temp", faults=faults))) == 1
    assert len(set(column("current", faults=faults))) > 100


def test_drifting_sensor_is_off_by_its_share_of_the_range_when_grown():
    drift = Fault(kind="sensor_drift", field="temp", severity=0.1, ramp_s=100.0)
    shift = statistics.fmean(column("temp", faults=[drift])) - statistics.fmean(column("temp"))
    assert shift == pytest.approx(0.1 * 200 / 2, rel=0.01)


def test_dropout_of_one_sensor_is_none_and_of_all_is_silence():
    one = open_motor(speed="max", count=10, faults=[{"kind": "dropout", "field": "temp"}])
    assert [r.values["temp"] for r in drain(one)] == [None] * 10
    every = open_motor(speed="max", count=10, rate_hz=10, faults=[{"kind": "dropout", "start": "500ms"}])
    assert len(drain(every)) == 4


def test_injected_fault_acts_from_now_on_and_its_end_heals():
    motor = InstrumentedMotor(1)
    motor.sample(50.0)
    motor.inject(Fault(kind="dropout", duration_s=10.0))
    assert motor.sample(1.0) is None
    assert motor.sample(20.0) is not None


def test_switched_off_motor_stops_and_cools():
    motor = InstrumentedMotor(1)
    motor.sample(100.0)
    motor.motor.running = False
    values = motor.sample(600.0)
    assert values["speed"] == pytest.approx(0, abs=10)
    assert values["current"] == pytest.approx(0, abs=0.2)
    assert values["temp"] == pytest.approx(25, abs=1)


def test_finite_source_ends_and_stays_ended():
    source = open_motor(speed="max", count=3)
    assert len(source.read(0)) == 3
    for _ in range(2):
        with pytest.raises(EndOfInput):
            source.read(0)


@pytest.mark.parametrize("bad", [{"rate_hz": 0}, {"speed": 0.5}, {"speed": "fast"}, {"faults": [{"kind": "fire"}]}])
def test_configuration_out_of_range_is_refused(bad):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, simulated.Config)
