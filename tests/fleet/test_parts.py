"""Parts of the ingest without broker and database: what it reads, what it acknowledges, when it gives up."""

from __future__ import annotations

import json
import time
import zlib
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.rows import deflate
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.fleet.acks import Acks, coalesced
from edge_agent.fleet.commit import Outcome
from edge_agent.fleet.intake import Delivery, Segment, Series, read_message
from edge_agent.fleet.watchdog import Watchdog
from edge_agent.types import Reading, Record
from edge_agent.uplink.ack import MAX_BYTES, decode_ack
from tests.fleet.rows import EPOCH, GATEWAY, raw, stamp, tele

WHOLE = {
    "alert": {
        "schema": "alert/1", "gw": "gw1", "stream": "alert", "epoch": EPOCH, "seq": 0, "boot": "b", "t": 1, "m": 1,
        "tq": "synced", "alert_id": "a", "dedupe_key": "k", "state": "raised", "severity": "critical", "text": "x",
    },
    "ledger/gap": {
        "schema": "gap/1", "gw": "gw1", "stream": "ledger", "epoch": EPOCH, "seq": 0,
        "gaps": {"epoch": EPOCH, "reason": "overload", "lost": {"press": [[1, 2]]}},
    },
    "ledger/close": {
        "schema": "close/1", "gw": "gw1", "stream": "ledger", "epoch": EPOCH, "seq": 0, "closed": EPOCH,
        "last": {"press": 5}, "lost": "",
    },
    "ledger/time_fix": {
        "schema": "time_fix/1", "gw": "gw1", "stream": "ledger", "epoch": EPOCH, "seq": 0, "boot": "b",
        "offset_ms": 1, "uncertainty_ms": 1,
    },
}  # fmt: skip
ODD = (None, 0, -1, 2**63, 10**30, 10**400, 1.5, "", "\0", "x" * 5000, True, [], [[0, 2**62]], {}, {"a": 1})
"""What stands where something else should."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
known = st.sampled_from(["gw", "boot", "t0", "m0", "t", "m", "tq", "seg", "stream", "seq", "gap", "last", "h"])
schemas = st.sampled_from(["tele/1", "gap/1", "close/1", "time_fix/1", "infer/1", "decision/1", "alert/1", "new/1"])
documents = st.builds(
    lambda fields, schema, names: {**fields, "schema": schema, **names},
    st.dictionaries(known, json_values, max_size=12),
    schemas,
    st.sampled_from([{}, {"gw": "gw1", "epoch": EPOCH, "stream": "x"}]),
)
kinds = st.sampled_from(["tele/all", "ledger", "alert", "state", "health", "infer/x", "cmd/1", "media/x", "x/y", ""])


def tele_text(*, n: int, spare: int = 0) -> bytes:
    ones = b",".join([b"1"] * n)
    named = (EPOCH.encode(), b"x" * spare)
    segment = b'{"stream":"press","seq0":0,"n":%d,"dt":[%s],"ch":{"a":{"u":"","x":[%s]}}' % (n, ones, ones)
    head = b'{"schema":"tele/1","gw":"gw1","epoch":"%s","boot":"b","t0":1,"m0":1,"tq":"synced","spare":"%s"' % named
    return b'%s,"seg":[%s,"h":"%08x"}]}' % (head, segment, zlib.crc32(segment))


def gap_text(n: int) -> bytes:
    ranges = [[2 * i, 2 * i] for i in range(n)]
    gaps = {"epoch": EPOCH, "reason": "overload", "lost": {"press": ranges}}
    return msgspec.json.encode({**WHOLE["ledger/gap"], "gaps": gaps})


def close_text(n: int) -> bytes:
    return msgspec.json.encode({**WHOLE["ledger/close"], "last": {f"s{i}": 1 for i in range(n)}})


@settings(max_examples=150, deadline=None)
@given(kinds, st.binary(max_size=80) | documents.map(lambda d: deflate(msgspec.json.encode(d))))
def test_no_message_makes_the_reader_fail(kind: str, body: bytes) -> None:
    delivery = read_message(f"edge/v1/t/s/gw1/up/{kind}", body)
    assert isinstance(delivery, Delivery)
    for series, seq in delivery.dead.claims if delivery.dead else ():
        assert (series.gateway, seq >= 0) == ("gw1", True)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize(("name", "odd"), [("seg", 1), ("seg", [[1]]), ("t0", "abc"), ("m0", "abc"), ("tq", 5)])
def test_message_with_a_member_of_another_shape_too_many_is_a_dead_letter(kind: str, name: str, odd: object) -> None:
    assert raw(kind.partition("/")[0], WHOLE[kind]).dead is None
    dead = raw(kind.partition("/")[0], {**WHOLE[kind], name: odd}).dead
    assert dead is not None
    assert dead.code == "schema"


@pytest.mark.parametrize("kind", WHOLE)
def test_no_message_with_something_else_in_its_members_makes_the_reader_fail(kind: str) -> None:
    for name in (*WHOLE[kind], "seg", "t0", "m0", "boot", "t", "m", "tq", "extra"):
        for odd in ODD:
            body = deflate(json.dumps({**WHOLE[kind], name: odd}).encode())
            delivery = read_message(GATEWAY.up(kind.partition("/")[0]), body)
            assert (delivery.dead is None) == bool(delivery.segments), (name, odd)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_row_with_one_byte_changed_is_refused_or_means_the_same(at: int, byte: int) -> None:
    whole = tele(0, 20)
    body = bytearray(whole.body)
    body[at % len(body)] = byte
    changed = read_message(whole.topic, bytes(body))
    assert changed.dead is not None or changed.segments == whole.segments


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("tele/a", tele_text(n=600_000)),
        ("infer/a", tele_text(n=600_000)),
        ("tele/a", tele_text(n=50_001)),
        ("tele/a", tele_text(n=20, spare=2**21)),
        ("ledger", gap_text(50_001)),
        ("ledger", close_text(50_001)),
    ],
    ids=["long text", "long text elsewhere", "readings", "long texts", "ranges", "streams"],
)
def test_small_message_that_unfolds_to_far_too_much_is_a_dead_letter_at_once(kind: str, text: bytes) -> None:
    began = time.process_time()
    delivery = read_message(GATEWAY.up(kind), deflate(text))
    assert time.process_time() - began < 2
    assert delivery.dead is not None
    assert (delivery.rows, delivery.gaps, delivery.closings) == (0, (), ())


@pytest.mark.parametrize("text", ["x" * 256, "\N{GRINNING FACE}" * 256])
def test_fullest_row_that_a_gateway_makes_by_default_is_taken(text: str) -> None:
    """Texts that never change deflate to almost nothing: the row is cut by what it unfolds to."""
    rows = TeleBuilder("gw1", EPOCH, describe=lambda _: StreamSpec(), limit_bytes=96 * 1024)
    n = 0
    while not rows.full:
        rows.append(Record(n, Reading("press", stamp(n), {"state": text})))
        n += 1
    drafts, refused = rows.close()
    deliveries = [read_message(GATEWAY.up(draft.kind, draft.key), draft.body) for draft in drafts]
    assert not refused
    assert [d.dead for d in deliveries if d.dead] == []
    assert [s.seq for d in deliveries for segment in d.segments for s in segment.readings] == list(range(n))


def test_topic_that_is_not_of_the_contract_is_a_dead_letter() -> None:
    for topic in ("edge/v1/t/s/gw1/down/ack", "edge/v2/t/s/gw1/up/tele", "x", "edge/v1/T/s/gw1/up/tele"):
        dead = read_message(topic, b"").dead
        assert dead is not None
        assert dead.code == "topic"


def segment(seq0: int, n: int, stream: str = "press") -> Segment:
    return Segment(Series("t", "s", "gw1", EPOCH, stream), seq0, n, 0, "b", "synced")


def taken(acks: Acks) -> list[bytes]:
    bodies = []
    while (message := acks.take()) is not None:
        assert message[0] == GATEWAY.down("ack")
        bodies.append(message[1])
    return bodies


def test_ranges_of_several_batches_go_out_as_one() -> None:
    acks = Acks()
    acks.add(Outcome(held=[segment(100, 50), segment(0, 50)]))
    acks.add(Outcome(held=[segment(50, 50), segment(200, 1)], rejected=[(segment(7, 1, "x").series, 7, "schema")]))
    (body,) = taken(acks)
    ack = decode_ack(body)
    assert (ack.epoch, ack.have) == (EPOCH, {"press": ((0, 149), (200, 200))})
    assert ack.reject == (("x", 7, "schema"),)


def test_many_ranges_and_rejects_go_out_in_messages_that_a_gateway_takes() -> None:
    acks = Acks()
    held = [segment(2 * i, 1, f"a-stream-with-quite-a-long-name-{s}") for s in range(20) for i in range(300)]
    rejected = [(segment(0, 1, "another-stream").series, i, "unstorable") for i in range(3000)]
    acks.add(Outcome(held=held, rejected=rejected))
    bodies = taken(acks)
    assert max(map(len, bodies)) <= MAX_BYTES
    decoded = [decode_ack(body) for body in bodies]
    assert sum(len(ranges) for ack in decoded for ranges in ack.have.values()) == len(held)
    assert sum(len(ack.reject) for ack in decoded) == len(rejected)


def test_many_streams_with_long_names_go_out_in_messages_that_a_gateway_takes() -> None:
    acks = Acks()
    names = [f"{'long' * 24}-{i}" for i in range(1000)]
    rejected = [(segment(0, 1, name).series, 1 << 52, "unstorable") for name in names]
    acks.add(Outcome(held=[segment(1 << 52, 2, name) for name in names], rejected=rejected))
    bodies = taken(acks)
    assert max(map(len, bodies)) <= MAX_BYTES
    decoded = [decode_ack(body) for body in bodies]
    assert sum(len(ack.have) for ack in decoded) == sum(len(ack.reject) for ack in decoded) == len(names)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)).map(lambda r: (r[0], r[0] + r[1]))))
def test_coalesced_ranges_are_the_same_numbers_ascending_and_apart(ranges: list[tuple[int, int]]) -> None:
    out = list(coalesced(ranges))
    numbers = {n for a, b in ranges for n in range(a, b + 1)}
    assert {n for a, b in out for n in range(a, b + 1)} == numbers
    assert all(a <= b for a, b in out)
    assert all(second[0] > first[1] + 1 for first, second in pairwise(out))


@pytest.mark.parametrize("turning", [True, False])
def test_watchdog_ends_a_process_that_does_not_turn_and_no_other(turning: bool) -> None:
    turns = [0]
    ended: list[int] = []
    dog = Watchdog(lambda: turns[0], hung_s=10, end=ended.append)
    for _ in range(11):
        turns[0] += turning
        dog.tick()
    assert bool(ended) is not turning
