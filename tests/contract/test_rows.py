"""What goes into a row comes out of it, whatever it was."""

import json
import zlib

import pytest
from doubles.schemas import assert_valid
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract import decode, messages
from edge_agent.contract.rows import RowEncoder
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.contract.ulid import new_ulid
from edge_agent.errors import Rejected
from edge_agent.types import (
    Alert,
    ClockQuality,
    Decision,
    ModelRef,
    Prediction,
    Quality,
    Reading,
    Record,
    RecordPrediction,
    SeqRange,
    Stamp,
)

EPOCH = "01KDVDNA00Q3N5M7K9P2R4T6W8"
WALL0 = 1_767_225_600_000_000_000
MONO0 = 5_123_456_000_000


def at(ms, quality=ClockQuality.SYNCED, boot="8f14e45f", step_ms=0):
    return Stamp(MONO0 + ms * 1_000_000, WALL0 + (ms + step_ms) * 1_000_000, quality, boot)


def builder(limit_bytes=96 * 1024, group="all", units=None):
    return TeleBuilder("gw1", EPOCH, describe=lambda stream: StreamSpec(group, units or {}), limit_bytes=limit_bytes)


def encoded(records, **options):
    rows = builder(**options)
    for record in records:
        rows.append(record)
    drafts, refused = rows.close()
    return drafts, refused


def decoded(drafts):
    """By (stream, seq): the sample; fails where a number comes twice."""
    out = {}
    for draft in drafts:
        assert decode.hashes_hold(draft.body)
        assert_valid(draft.body)
        for sample in decode.samples(decode.decode_row(draft.body)):
            assert (sample.stream, sample.seq) not in out
            out[sample.stream, sample.seq] = sample
    return out


def test_row_of_the_contract_page():
    values = [20.1, 20.3, None]
    quality = [None, None, {"temp": Quality.BAD}]
    records = [
        Record(1200 + i, Reading("press", at(1000 * i), {"temp": values[i]}, quality[i])) for i in range(3)
    ]
    (draft,), refused = encoded(records, units={"temp": "Cel"})
    row = json.loads(decode.inflate(draft.body))
    assert row["seg"][0].pop("h")
    assert row == {
        "schema": "tele/1",
        "gw": "gw1",
        "epoch": EPOCH,
        "boot": "8f14e45f",
        "t0": 1767225600000,
        "m0": 5123456,
        "tq": "synced",
        "seg": [
            {
                "stream": "press",
                "seq0": 1200,
                "n": 3,
                "dt": [0, 1000, 1000],
                "ch": {"temp": {"u": "Cel", "x": [20.1, 20.3, None], "q": [0, 0, 2]}},
            }
        ],
    }
    assert (draft.kind, draft.key, draft.n, draft.prio) == ("tele", "all", 3, 2)
    assert draft.segments == (("press", 1200, 1202),)
    assert not refused


floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), floats, st.text())
readings = st.tuples(
    st.sampled_from(["a", "b", "press"]),
    st.integers(0, 86_400_000),
    st.dictionaries(st.sampled_from(["x", "y", 'quo"te', "h"]), values, max_size=3),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(Quality), max_size=2),
    st.booleans(),
    st.sampled_from([ClockQuality.SYNCED, ClockQuality.GUESSED]),
    st.sampled_from(["boot1", "boot2"]),
    st.sampled_from([0, 0, 0, 3_600_000]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(readings, max_size=30), st.sampled_from([200, 1000, 96 * 1024]))
def test_every_reading_comes_back_as_it_was(given_readings, limit_bytes):
    """Any mix of streams, fields, missing values, qualities, clock steps, boots, holes in the numbers and limits."""
    numbers, records = {}, []
    for stream, ms, fields, quality, hole, clock, boot, step_ms in given_readings:
        numbers[stream] = numbers.get(stream, -1) + 1 + hole
        records.append(
            Record(numbers[stream], Reading(stream, at(ms, clock, boot, step_ms), fields, quality or None))
        )
    drafts, refused = encoded(records, limit_bytes=limit_bytes)
    assert all(len(draft.body) <= limit_bytes for draft in drafts)
    found = decoded(drafts)
    assert found.keys() | set(refused) == {(r.reading.stream, r.seq) for r in records}
    assert not found.keys() & set(refused)
    assert sorted(found) == sorted((s, i) for d in drafts for s, a, b in d.segments for i in range(a, b + 1))
    for record in records:
        reading = record.reading
        sample = found.get((reading.stream, record.seq))
        if sample is None:
            continue
        assert {k: v for k, v in sample.values.items() if k in reading.values} == reading.values
        assert all(sample.values[k] is None for k in sample.values.keys() - reading.values.keys())
        bad = {k: q for k, q in (reading.quality or {}).items() if q and k in sample.values}
        assert sample.quality == bad
        assert sample.m == reading.stamp.mono_ns // 1_000_000
        assert abs(sample.t - reading.stamp.wall_ns // 1_000_000) <= 50


def test_rows_keep_types_apart():
    """1, 1.0 and true are three values."""
    records = [Record(i, Reading("s", at(i), {"x": x})) for i, x in enumerate([1, 1.0, True, "1"])]
    found = decoded(encoded(records)[0])
    assert [type(found["s", i].values["x"]) for i in range(4)] == [int, float, bool, str]


def test_each_group_has_a_row_of_its_own():
    rows = TeleBuilder("gw1", EPOCH, describe=lambda s: StreamSpec("fast" if s == "a" else "slow"), limit_bytes=9999)
    for i in range(4):
        for stream in ("a", "b", "c"):
            rows.append(Record(i, Reading(stream, at(i), {"x": i})))
    drafts, _ = rows.close()
    assert {d.key: sorted(s for s, _, _ in d.segments) for d in drafts} == {"fast": ["a"], "slow": ["b", "c"]}
    assert rows.close() == ([], [])


def test_two_time_bases_that_alternate_make_two_rows_not_one_per_reading():
    """A replay with the recording's wall times beside a live source."""
    records = [
        Record(i, Reading(stream, at(i, step_ms=step), {"x": i}))
        for i in range(100)
        for stream, step in (("live", 0), ("replay", -10**9))
    ]
    drafts, _ = encoded(records)
    assert len(drafts) == 2
    assert len(decoded(drafts)) == 200


def test_builder_says_when_the_row_is_full():
    rows = builder(limit_bytes=1000)
    for i in range(200):
        assert not rows.full
        rows.append(Record(i, Reading("s", at(i), {"x": i})))
    assert rows.full
    rows.close()
    assert not rows.full


def test_not_a_number_is_null():
    found = decoded(encoded([Record(0, Reading("s", at(0), {"x": float("nan"), "y": float("inf")}))])[0])
    assert found["s", 0].values == {"x": None, "y": None}


def test_reading_that_is_no_json_is_refused_alone():
    texts = ["fine", "\ud800 half a pair", "fine too"]
    drafts, refused = encoded([Record(i, Reading("s", at(i), {"x": text})) for i, text in enumerate(texts)])
    assert refused == [("s", 1)]
    assert decoded(drafts).keys() == {("s", 0), ("s", 2)}


def test_newest_device_cursor_of_each_stream_is_kept():
    records = [Record(i, Reading("dev", at(i), {"x": i}, cursor=100 + i)) for i in range(5)]
    (draft,), _ = encoded([*records, Record(0, Reading("other", at(0), {"x": 0}))])
    assert draft.cursors == {"dev": 104}


# --- re-stamping ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=10), st.integers(0, 2 * 10**12))
def test_restamped_row_has_the_right_time_and_the_same_hash(times, offset_ms):
    records = [Record(i, Reading("s", at(ms, ClockQuality.GUESSED), {"x": ms})) for i, ms in enumerate(times)]
    (draft,), _ = encoded(records)
    assert draft.guessed
    before, after = decode.inflate(draft.body), decode.inflate(decode.restamp(draft.body, offset_ms, "synced"))
    assert decode.when(draft.body).boot == "8f14e45f"
    assert before[before.index(b'"seg"') :] == after[after.index(b'"seg"') :]
    row = decode.decode_row(decode.restamp(draft.body, offset_ms, "synced"))
    assert row.tq == "synced"
    for sample in decode.samples(row):
        assert sample.t == sample.m + offset_ms


def test_restamping_a_prediction_moves_its_inputs_too():
    draft = RowEncoder("gw1", EPOCH).prediction(prediction(quality=ClockQuality.GUESSED))
    row = decode.decode_row(decode.restamp(draft.body, 1000, "synced"))
    assert (row.t - row.m, row.inputs.t - row.inputs.m, row.tq) == (1000, 1000, "synced")
    assert row.inputs.m == row.m - 20


def test_a_row_without_times_is_not_restamped():
    draft = RowEncoder("gw1", EPOCH).gap(
        0, messages.GapRange(stream="s", epoch=EPOCH, from_=1, to=2, reason="quota")
    )
    assert decode.restamp(draft.body, 1000, "synced") == draft.body
    assert not draft.guessed


# --- single messages -----------------------------------------------------------------------------------------------


def prediction(quality=ClockQuality.SYNCED, detail=None):
    stamp, seen = at(1000, quality), at(980, quality)
    return RecordPrediction(
        88,
        Prediction(
            "bearing",
            7,
            seen,
            stamp,
            ModelRef("bearing", "1.4.0", "5e88"),
            True,
            {"score": 0.83, "scores": [0.1, 0.83]},
            detail=detail,
            latency_ms=11.8,
            digest="sha256:77af",
            refs=(SeqRange("press", EPOCH, 1137, 1200),),
        ),
        "trusted",
    )


def test_prediction_row():
    draft = RowEncoder("gw1", EPOCH).prediction(prediction())
    row = decode.decode_row(draft.body)
    assert (draft.kind, draft.key, draft.prio) == ("infer", "bearing", 1)
    assert draft.segments == (("infer-bearing", 88, 88),)
    assert (row.stream, row.seq, row.trust, row.valid, row.latency_ms) == ("infer-bearing", 88, "trusted", True, 11.8)
    assert row.outputs == {"score": 0.83, "scores": [0.1, 0.83]}
    assert row.inputs.refs == [messages.Ref(stream="press", epoch=EPOCH, from_=1137, to=1200)]
    assert (row.inputs.number, row.inputs.digest) == (7, "sha256:77af")


def test_decision_row_explains_itself():
    decision = Decision(
        14,
        "bearing-overheat",
        "c0de",
        "raised",
        "when",
        {"motor.temp_5m": 86.2, "bearing.score": None},
        ("bearing.score",),
        "critical",
        at(0, ClockQuality.GUESSED),
        action={"set": "press.relay", "value": 0, "result": "done"},
        overrides=("bearing-overheat",),
        rung="rules-only",
        models=(ModelRef("bearing", "1", "aa"),),
    )
    draft = RowEncoder("gw1", EPOCH).decision(decision)
    row = decode.decode_row(draft.body)
    assert (draft.kind, draft.key, draft.prio, draft.guessed) == ("decision", "bearing-overheat", 0, True)
    assert (row.rule.id, row.rule.sha256, row.outcome, row.branch) == ("bearing-overheat", "c0de", "raised", "when")
    assert row.inputs == {"motor.temp_5m": 86.2, "bearing.score": None}
    assert row.unknown == ["bearing.score"]
    assert row.action == {"set": "press.relay", "value": 0, "result": "done"}
    assert (row.overrides, row.rung, row.models[0].name) == (["bearing-overheat"], "rules-only", "bearing")


def test_alert_row():
    draft = RowEncoder("gw1", EPOCH).alert(Alert(5, "a-5f2c", "overheat/motor", "raised", "critical", "hot", at(0)))
    row = decode.decode_row(draft.body)
    assert (draft.kind, draft.key, draft.segments) == ("alert", "", (("alert", 5, 5),))
    assert (row.alert_id, row.dedupe_key, row.state, row.severity, row.text) == (
        "a-5f2c",
        "overheat/motor",
        "raised",
        "critical",
        "hot",
    )


def test_gap_rows_declare_one_range_or_many():
    encoder = RowEncoder("gw1", EPOCH)
    one = messages.GapRange(stream="press", epoch="E0", from_=3, to=9, reason="quota")
    many = messages.GapRanges(epoch="E0", reason="thinned", lost={"a": ((0, 4), (10, 14)), "b": ((7, 7),)})
    assert list(decode.lost(decode.decode_row(encoder.gap(0, one).body))) == [("press", "E0", 3, 9, "quota")]
    assert list(decode.lost(decode.decode_row(encoder.gap(1, many).body))) == [
        ("a", "E0", 0, 4, "thinned"),
        ("a", "E0", 10, 14, "thinned"),
        ("b", "E0", 7, 7, "thinned"),
    ]


# --- bodies from elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not deflated",
        zlib.compress(b"{}")[:-3],
        zlib.compress(b"{}") + b"more",
        zlib.compress(b"{"),
        zlib.compress(b"[]"),
        zlib.compress(b'{"schema":"tele/2"}'),
        zlib.compress(b'{"schema":"tele/1","gw":"g"}'),
        zlib.compress(b"[" * 100_000),
        zlib.compress(b" " * (17 * 1024 * 1024)),
        zlib.compress(b'{"schema":"gap/1","gw":"\xff","stream":"l","epoch":"e","seq":1}'),
        zlib.compress(
            b'{"schema":"tele/1","gw":"g","epoch":"e","boot":"b","t0":1,"m0":1,"tq":"synced","seg":'
            b'[{"stream":"s","seq0":0,"n":2,"dt":[0],"ch":{"x":{"x":[1]}},"h":"0"}]}'
        ),
    ],
)
def test_bad_body_is_refused_with_a_class(body):
    with pytest.raises(Rejected):
        decode.decode_row(body)


def test_changed_value_does_not_hold_its_hash():
    (draft,), _ = encoded([Record(0, Reading("s", at(0), {"x": 20.1}))])
    changed = zlib.compress(decode.inflate(draft.body).replace(b"20.1", b"20.2"))
    assert decode.hashes_hold(draft.body)
    assert not decode.hashes_hold(changed)


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_ulid(WALL0 + i * 10**6, lambda n: bytes(n)) for i in range(5)]
    assert ids == sorted(ids)
    assert all(len(i) == 26 for i in ids)
    assert new_ulid(WALL0, lambda n: b"\1" * n) != new_ulid(WALL0, lambda n: b"\2" * n)
    assert new_ulid(1_767_225_600_000 * 10**6, lambda n: bytes(n)).startswith("01KDVDNA00")
