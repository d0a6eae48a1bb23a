"""A replayed file gives all its readings, in its order, at its own times, and says which lines were none."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import EndOfInput, Retryable
from edge_agent.health import PartHealth
from edge_agent.ports import FieldSpec
from edge_agent.sources import replay
from edge_agent.types import Quality

MACHINE = Path(__file__).parents[2] / "../shared/data/timeseries/machine_temperature_system_failure.csv"
HUMMINBIRD = Path(__file__).parents[2] / "../shared/data/serial/humminbird-M37.log"
SECOND = 1_000_000_000


def open_replay(path, clock=None, fields=None, **config):
    counters = PartHealth("machine")
    context = SimpleNamespace(name="machine", clock=clock or FakeClock(), counters=counters, fields=fields or {})
    return replay.open(msgspec.convert({"path": str(path), **config}, replay.Config), context), counters


def drain(source):
    readings = []
    while True:
        try:
            readings += source.read(0)
        except EndOfInput:
            return readings


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "capture"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.skipif(not MACHINE.exists(), reason="../shared/data is not there")
def test_machine_temperature_comes_complete_and_in_order():
    source, counters = open_replay(MACHINE, time="timestamp", values={"temp": "value"}, speed="max")
    readings = drain(source)
    with MACHINE.open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(readings) == len(rows) == 22_695
    assert [r.values["temp"] for r in readings] == [float(row["value"]) for row in rows]
    walls = [int(datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC).timestamp()) * SECOND for row in rows]
    assert [r.stamp.wall_ns for r in readings] == walls
    assert [r.stamp.mono_ns for r in readings] == [wall - walls[0] for wall in walls]
    assert counters.to_dict(0)["counts"] == {}


def test_readings_are_as_far_apart_as_in_the_file_and_date_from_it(write):
    path = write("t,temp\n2020-01-01 00:00:00,1\n2020-01-01 00:00:00.5,2\n2020-01-01T00:01:00+00:00,3\n")
    clock = FakeClock(mono_ns=7 * SECOND)
    source, _ = open_replay(path, clock, time="t", speed="max")
    readings = drain(source)
    assert [r.stamp.mono_ns - 7 * SECOND for r in readings] == [0, SECOND // 2, 60 * SECOND]
    assert datetime.fromtimestamp(readings[0].stamp.wall_ns / 1e9, UTC) == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("speed", "elapsed"), [(1, 10.0), (10, 1.0)])
def test_pace_follows_the_clock(write, speed, elapsed):
    clock = FakeClock()
    path = write("t,temp\n100,1\n110,2\n")
    source, _ = open_replay(path, clock, time="t", time_format="epoch_s", speed=speed)
    assert [r.values["temp"] for r in source.read(0)] == [1.0]
    clock.advance(elapsed - 0.001)
    assert source.read(0) == []
    clock.advance(0.001)
    (reading,) = source.read(0)
    assert reading.stamp.mono_ns == 10 * SECOND
    with pytest.raises(EndOfInput):
        source.read(0)


def test_bad_lines_are_counted_kept_with_their_number_and_skipped(write):
    long = b"8," + b"9" * 70_000
    lines = [b"t,temp", b"1,20.5", b"2,2o.5", b"x,21", b"4,21,9", b"5,\xff\xfe", b"7,22", long, b"9,23"]
    source, counters = open_replay(write(b"\n".join(lines)), time="t", time_format="epoch_s", speed="max")
    assert [r.values["temp"] for r in drain(source)] == [20.5, 22.0, 23.0]
    told = counters.to_dict(0)
    assert told["counts"] == {"cell": 1, "time": 1, "cell_count": 1, "encoding": 1, "too_long": 1}
    assert "line 3: 2,2o.5" in str(told["quarantine"])


def test_missing_value_is_not_given_and_not_finite_is_bad(write):
    source, _ = open_replay(write("t,a,b\n1,,2\n2,nan,3\n"), time="t", time_format="epoch_s", speed="max")
    first, second = drain(source)
    assert (first.values, first.quality) == ({"a": None, "b": 2.0}, None)
    assert (second.values, second.quality) == ({"a": None, "b": 3.0}, {"a": Quality.BAD})


def test_fields_have_the_types_that_the_site_declares(write):
    fields = {"n": FieldSpec(type="int"), "door": FieldSpec(type="bool"), "who": FieldSpec(type="string")}
    path = write("t;count;door;who;junk\n1;7;true;Ada;??\n")
    source, _ = open_replay(
        path, fields=fields, time="t", time_format="epoch_ms", speed="max", delimiter=";",
        values={"n": "count", "door": "door", "who": "who"},
    )  # fmt: skip
    assert drain(source)[0].values == {"n": 7, "door": True, "who": "Ada"}


def test_one_json_object_a_line(write):
    path = write('{"ts": 1.25, "temp": 20}\nnoise\n{"ts": 2.5, "temp": 21.5, "ok": true}\n')
    source, counters = open_replay(path, format="ndjson", time="ts", time_format="epoch_s", speed="max")
    readings = drain(source)
    assert [r.values for r in readings] == [{"temp": 20}, {"temp": 21.5, "ok": True}]
    assert readings[1].stamp.mono_ns == SECOND * 5 // 4
    assert counters.value("json") == 1


@pytest.mark.skipif(not HUMMINBIRD.exists(), reason="../shared/data is not there")
def test_captured_sentences_give_the_places_asked_for():
    values = {"depth": "DPT.depth", "water": "MTW.temperature"}
    source, counters = open_replay(HUMMINBIRD, format="nmea", interval="1s", values=values, speed="max")
    readings = drain(source)
    sentences = [line for line in HUMMINBIRD.read_text().splitlines() if line[3:6] in ("DPT", "MTW")]
    assert len(readings) == len(sentences) == 49
    assert {name for r in readings for name in r.values} == {"depth", "water"}
    assert counters.value("check_failed") == 0


def test_file_without_times_is_given_an_interval(write):
    clock = FakeClock()
    source, _ = open_replay(write("a,b\n1,2\n3,4\n5,6\n"), clock, interval="100ms", speed="max")
    assert [r.stamp.mono_ns for r in drain(source)] == [0, SECOND // 10, SECOND // 5]


def test_own_pattern_for_times(write):
    path = write("when,v,w\n24.12.2020 18:00:00,1,1\n")
    source, _ = open_replay(path, time="when", time_format="%d.%m.%Y %H:%M:%S", speed="max")
    wall_s = drain(source)[0].stamp.wall_ns / 1e9
    assert datetime.fromtimestamp(wall_s, UTC).isoformat() == "2020-12-24T18:00:00+00:00"


def test_line_from_before_the_one_ahead_of_it_keeps_its_place_and_its_time(write):
    source, _ = open_replay(write("t,v\n10,1\n5,2\n11,3\n"), time="t", time_format="epoch_s", speed="max")
    assert [(r.values["v"], r.stamp.mono_ns) for r in drain(source)] == [(1, 0), (2, -5 * SECOND), (3, SECOND)]


def test_file_that_is_not_there_is_retryable_with_its_name(tmp_path):
    with pytest.raises(Retryable, match=r"nowhere\.csv: No such file"):
        open_replay(tmp_path / "nowhere.csv", interval="1s")


@pytest.mark.parametrize("bad", [{}, {"time": "t", "interval": "1s"}, {"time": "t", "time_format": "american"}])
def test_configuration_that_cannot_be_is_refused(bad):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"path": "x", **bad}, replay.Config)
