"""messages.py: strict in what it takes, own errors only, nothing built from hostile CBOR."""

from __future__ import annotations

import time
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import messages as m
from firmware_bridge.errors import BadMessage, UnknownType

ASSIGNED = (1, 2, 3, 4, *range(0x41, 0x4B))
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)


@given(st.sampled_from(ASSIGNED), st.binary(max_size=248))
def test_any_payload_gives_a_message_or_bad_message(kind, payload):
    with suppress(BadMessage):
        m.decode(kind, payload)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(ASSIGNED), st.dictionaries(st.integers(0, 16), anything, max_size=16))
def test_any_map_gives_a_message_or_bad_message(kind, payload):
    try:
        message = m.decode(kind, cbor2.dumps(dict(sorted(payload.items()))))
    except BadMessage:
        return
    assert m.decode(kind, m.encode(message)) is not None


@given(
    u32,
    u32,
    u64,
    st.lists(
        st.tuples(st.integers(0, 63), st.integers(-(2**40), 2**40), st.floats(width=32)), min_size=1, max_size=20
    ),
)
def test_samples_come_back(boot, first, time_us, samples):
    items = [part for sample in samples for part in sample]
    message = m.Samples(boot, first, time_us, items)
    assert repr(m.decode(m.Samples.TYPE, m.encode(message))) == repr(message)


@pytest.mark.parametrize("kind", [0, 5, 0x09, 0x14, 0x40, 0x4B, 0xFF])
def test_unassigned_types_are_told_apart(kind):
    with pytest.raises(UnknownType):
        m.decode(kind, b"\xff\xff")


def test_unknown_keys_are_skipped():
    assert m.decode(3, cbor2.dumps({0: 5, 7: [1, {1: "x"}], 2000: None})) == m.Ping(5)


BOMBS = {
    "big float": "a20005187ac5821b7fffffffffffffff01",
    "decimal": "a20005187ac4821b7fffffffffffffff01",
    "regular expression": "a20005187ad8236528612b292b",
    "shared value of itself": "a20005187ad81c81d81d00",
    "string reference": "a20005187ad9010081d81900",
    "big integer": "a20005187ac258200101010101010101010101010101010101010101010101010101010101010101",
    "deep nesting": "a20005187a" + "81" * 200 + "00",
    "array of 2^63": "a20005187a9b7fffffffffffffff",
    "text of 2^63": "a20005187a7b7fffffffffffffff",
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_cbor_is_refused_at_once(name):
    start = time.process_time()
    with pytest.raises(BadMessage):
        m.decode(3, bytes.fromhex(BOMBS[name]))
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("items", [[], [0], [0, 0], [0, 0, 0, 0], [0, 0.5, 1], ["0", 0, 1], [True, 0, 1], [0, 0, "x"],
                                   [0, 0, [1]], [0, None, 1], [0, 0, 1] * 86])  # fmt: skip
def test_samples_that_are_not_whole_are_refused(items):
    payload = cbor2.dumps({0: 1, 1: 1, 2: 1, 3: items})
    with pytest.raises(BadMessage):
        m.decode(m.Samples.TYPE, payload)


def test_every_host_message_fits_the_smallest_device():
    longest = (
        m.Hello(255, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        m.Ack(2**32 - 1, 2**32 - 1, 2**32 - 1),
        m.Ping(2**32 - 1),
        m.Command(2**32 - 1, 2**32 - 1, 255, -(2**31), 2**64 - 1),
    )
    assert max(len(m.encode(message)) for message in longest) + 6 <= 64
