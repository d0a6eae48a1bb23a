"""What an export gives: every reading once, with its time set right, from a slice of memory at a time."""

import tracemalloc

import pytest

from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.store.exporting import KINDS, Wanted, export_of
from edge_agent.store.writer import TimeFix
from edge_agent.types import ClockQuality, Quality, Reading, Record
from tests.store import effects
from tests.store.box import Box
from tests.store.test_reader import filled

READINGS = frozenset({"readings"})


def records(directory, wanted=Wanted(READINGS)):  # noqa: B008
    with export_of(directory / "store.db", wanted) as export:
        return list(export.records())


def test_every_reading_comes_once_in_the_order_of_its_stream(tmp_path):
    box = filled(tmp_path)
    found = records(tmp_path)
    assert [r.seq for r in found if r.stream == "press"] == list(range(15))
    assert [r.seq for r in found if r.stream == "tank"] == list(range(15))
    assert {r.epoch for r in found} == {box.epoch}
    assert found[0].fields == {"temp": 20.0}
    assert found[0].t_ms == effects.WALL0 // 10**6
    box.close()


def test_every_kind_has_its_records(tmp_path):
    filled(tmp_path).close()
    found = records(tmp_path, Wanted(frozenset(KINDS)))
    by_stream = {r.stream: r.fields for r in found}
    assert by_stream["decision"]["rule"] == "overheat"
    assert by_stream["alert"]["state"] == "raised"
    assert by_stream["infer-bearing"]["model"] == "bearing 1.4.0"
    assert by_stream["ledger"]["entry"] == "gap"
    assert by_stream["ledger"]["count"] == 5


def test_stream_and_time_choose(tmp_path):
    filled(tmp_path).close()
    t0 = effects.WALL0 // 10**6
    found = records(tmp_path, Wanted(READINGS, frozenset({"tank"}), t0 + 1, t0 + 3))
    assert {(r.stream, r.t_ms) for r in found} == {("tank", t0 + 1), ("tank", t0 + 2)}


def test_units_and_quality_are_beside_the_values_and_in_the_columns(tmp_path):
    box = Box(tmp_path)
    rows = TeleBuilder("gw1", box.epoch, describe=lambda _: StreamSpec("all", {"temp": "Cel"}), limit_bytes=90_000)
    reading = Reading("press", effects.at(), {"temp": 20.5, "on": True}, {"temp": Quality.BAD})
    rows.append(Record(box.number("press"), reading))
    box.commit(rows.close()[0])
    with export_of(tmp_path / "store.db", Wanted(READINGS)) as export:
        assert export.columns() == [("temp", "Cel"), ("on", "")]
        (record,) = export.records()
    assert (record.units, record.quality) == ({"temp": "Cel"}, {"temp": "bad"})
    box.close()


def test_time_that_was_guessed_and_is_known_by_now_is_right(tmp_path):
    box = Box(tmp_path)
    rows = TeleBuilder("gw1", box.epoch, describe=lambda _: StreamSpec(), limit_bytes=90_000)
    rows.append(Record(box.number("press"), Reading("press", effects.at(0, ClockQuality.GUESSED), {"temp": 1.0})))
    box.commit(rows.close()[0])
    assert [(r.time, r.t_ms) for r in records(tmp_path)] == [("guessed", effects.WALL0 // 10**6)]
    year_ms = 365 * 86_400_000
    offset_ms = (effects.WALL0 - effects.MONO0) // 10**6 + year_ms
    box.writer.fix_time(TimeFix("8f14e45f", offset_ms, 10))
    box.commit()
    assert [(r.time, r.t_ms) for r in records(tmp_path)] == [("fixed", effects.WALL0 // 10**6 + year_ms)]
    box.close()


def test_damaged_row_is_left_out_and_counted(tmp_path):
    box = filled(tmp_path)
    box.writer._db.execute("UPDATE row2 SET n = 9 WHERE id = 2")
    with export_of(tmp_path / "store.db", Wanted(READINGS)) as export:
        assert len(list(export.records())) == 20
        assert export.damaged == 1
    box.close()


@pytest.mark.slow
def test_memory_of_an_export_does_not_grow_with_the_store(tmp_path):
    box = Box(tmp_path, quota_bytes=64_000_000)
    peaks = []
    for rows in (100, 500):
        while box.writer.outgoing.newest(2) < rows:
            box.commit(box.telemetry(["press"], 50, noise_bytes=400))
        tracemalloc.start()
        with export_of(tmp_path / "store.db", Wanted(READINGS)) as export:
            assert sum(1 for _ in export.records()) == rows * 50
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    box.close()
