"""`down/ack` is input from outside: rows 52 to 54 of the bad inputs, and what a backend of ours may send."""

import json
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import messages
from edge_agent.errors import Rejected
from edge_agent.uplink.ack import decode_ack

GOOD = {"schema": "ack/1", "epoch": "01KDVDNA00Q3N5M7K9P2R4T6W8", "have": {"press": [[0, 9]]}}


def body(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def test_what_the_contracts_own_encoder_writes_is_understood():
    reject = [messages.Reject(stream="press", seq=7, code="schema")]
    ack = messages.Ack(epoch="E", have={"press": ((0, 1902), (1950, 2400))}, reject=reject)
    read = decode_ack(msgspec.json.encode(ack))
    assert read.have == {"press": ((0, 1902), (1950, 2400))}
    assert read.reject == (("press", 7, "schema"),)


def test_ranges_that_touch_or_overlap_are_joined():
    read = decode_ack(body(have={"press": [[11, 20], [0, 10], [30, 40], [35, 50]]}))
    assert read.have == {"press": ((0, 20), (30, 50))}


def test_fields_of_a_later_version_are_ignored():
    assert decode_ack(body(missing=[1], note={"a": None})).epoch == GOOD["epoch"]


@pytest.mark.parametrize("size", [0, 65_537, 262_144, 5_000_000])
def test_row_52_empty_and_large_payloads_are_refused_before_parsing(size):
    large = b"[" * size
    started = time.thread_time()
    with pytest.raises(Rejected, match="bytes") as e:
        decode_ack(large)
    assert time.thread_time() - started < 0.01
    assert len(e.value.item) <= 200


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"schema":"ack/1","epoch":"A","epoch":"B"}', "'epoch' is given twice"),
        (b'{"schema":"ack/1","epoch":"A","have":{"p":[[0,1]],"p":[[0,9]]}}', "'p' is given twice"),
        (b'{"schema":"ack/1","epoch":"A","have":{"p":[[0,NaN]]}}', "NaN is not JSON"),
        (b'{"schema":"ack/1","epoch":"A","x":-Infinity}', "Infinity is not JSON"),
        (b'{"schema":"ack/1","epoch":"A","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply"),
        (b'{"schema":"ack/1","epoch":"' + b"A" * 60_000 + b'"}', "malformed"),
        (b'{"schema":"ack/1","epoch":"\\ud800"}', "lone surrogate"),
        (b'{"schema":"ack/1","epoch":"\xff"}', "not UTF-8 at byte 27"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b'{"schema":"ack/1"', "malformed"),
        (b'{"schema":"ack/1","epoch":"A"} x', "malformed"),
    ],
)
def test_row_53_malformed_json_is_refused_with_its_place(bad, why):
    with pytest.raises(Rejected, match="malformed") as e:
        decode_ack(bad)
    assert why in str(e.value)


@pytest.mark.parametrize("number", ["18446744073709551616", "-1", "1e999", "1.5", "true", '"1"', "null", "9" * 5000])
def test_row_54_numbers_that_are_no_sequence_numbers_are_refused(number):
    with pytest.raises(Rejected, match="malformed"):
        decode_ack(b'{"schema":"ack/1","epoch":"A","have":{"p":[[0,%s]]}}' % number.encode())


def test_row_54_integers_are_exact():
    assert decode_ack(body(have={"p": [[2**53, 2**53 + 1]]})).have == {"p": ((2**53, 2**53 + 1),)}


@pytest.mark.parametrize(
    "bad",
    [
        body(schema="ack/2"), body(schema=None), body(epoch=""), body(epoch=7), body(have=[]),
        body(have={"p": [[3, 1]]}),
        body(have={"p": [[1]]}), body(have={"p": [[1, 2, 3]]}), body(have={"p": [1, 2]}), body(have={"": [[0, 1]]}),
        body(have={"p" * 200: [[0, 1]]}), body(reject=[{"stream": "p", "seq": 1}]),
        body(reject=[{"stream": "p", "seq": 1, "code": "a\x1b[2J"}]), b"[]", b"null", b"7", b'"ack/1"',
        body(have={f"s{i}": [[0, 1]] for i in range(1025)}), body(have={"p": [[2 * i, 2 * i] for i in range(4097)]}),
    ],
)  # fmt: skip
def test_nonsense_is_refused_whole(bad):
    with pytest.raises(Rejected):
        decode_ack(bad)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data):
    with suppress(Rejected):
        decode_ack(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(have=JSON, reject=JSON, epoch=JSON)
def test_no_document_raises_anything_else(have, reject, epoch):
    document = json.dumps({"schema": "ack/1", "epoch": epoch, "have": have, "reject": reject}).encode()
    try:
        read = decode_ack(document)
    except Rejected:
        return
    for ranges in read.have.values():
        flat = [n for pair in ranges for n in pair]
        assert flat == sorted(flat)
