"""Python against C: the same bytes give the same frames, the same counters, the same commands."""

from __future__ import annotations

import random

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import messages as m
from firmware_bridge.errors import BadMessage, UnknownType
from firmware_bridge.frame import Decoder, cobs_decode, seal

from .device import SimDevice, c_open, c_seal, vectors

GOLDEN = [bytes.fromhex(row["wire"]) for row in vectors("frames.json")]


@given(st.binary(min_size=2, max_size=250) | st.integers(2, 250).map(lambda n: b"\x07" * n))
def test_both_seal_alike(body):
    assert c_seal(body) == seal(body[0], body[1], body[2:])


@given(st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"\1")))
def test_both_open_alike(encoded):
    body = cobs_decode(encoded)
    opened = c_open(encoded)
    if body is None or len(body) < 6:
        assert opened == -4
    elif isinstance(opened, bytes):
        assert opened == body[:-4]
    else:
        assert opened == -5


def line_noise(dice: random.Random, size: int) -> bytes:
    """Golden frames, cut, glued, flipped, repeated, among random bytes."""
    out = bytearray()
    while len(out) < size:
        piece = bytearray(dice.choice(GOLDEN))
        for _ in range(dice.choice((0, 0, 0, 1, 1, 3))):
            piece[dice.randrange(len(piece))] = dice.randrange(256)
        if dice.random() < 0.2:
            del piece[dice.randrange(len(piece)) :]
        if dice.random() < 0.1:
            piece += dice.randbytes(dice.randrange(600))
        out += piece
    return bytes(out[:size])


def counters_of(data: bytes, decoder: Decoder, count: dict[str, int]) -> None:
    for kind, _, payload in decoder.feed(data):
        # A device knows only what a host sends.
        if not 1 <= kind <= 4:
            count["unknown"] += 1
            continue
        try:
            m.decode(kind, payload)
        except BadMessage:
            count["bad_messages"] += 1


def compare(seed: int, size: int) -> None:
    dice = random.Random(seed)
    device, decoder, count = SimDevice(), Decoder(), {"unknown": 0, "bad_messages": 0}
    data = line_noise(dice, size)
    at = 0
    while at < size:
        piece = data[at : at + dice.randrange(1, 700)]
        at += len(piece)
        device.feed(piece)
        counters_of(piece, decoder, count)
    frames = decoder.counters
    expected = {"good": frames.good, "crc_errors": frames.crc_errors, "bad_frames": frames.bad_frames,
                "oversize": frames.oversize, **count}  # fmt: skip
    assert {name: device.stats[name] for name in expected} == expected


@pytest.mark.parametrize("seed", range(8))
def test_same_noise_same_counters(seed):
    compare(seed, 50_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_ten_million_bytes_of_noise_same_counters(seed):
    compare(seed, 1_000_000)


plain = (
    st.integers(0, 2**64 - 1)
    | st.integers(-(2**33), -1)
    | st.booleans()
    | st.none()
    | st.sampled_from([m.Float32(1.5), "x", [1, 2], {1: [3]}])
)


@settings(max_examples=300)
@given(
    st.integers(1, 4),
    st.dictionaries(st.sampled_from([0, 1, 2, 3, 4, 5, 30, 2**40]), plain, max_size=7),
    st.binary(max_size=2),
)
def test_both_take_and_refuse_the_same_messages(kind, payload, tail):
    data = cbor2.dumps(dict(sorted(payload.items())), encoders={m.Float32: m._write_float32}) + tail
    if len(data) > 240:
        return
    device = SimDevice()
    device.feed(seal(kind, 0, data))
    assert device.stats["good"] == 1
    try:
        message = m.decode(kind, data)
    except (BadMessage, UnknownType):
        assert device.stats["bad_messages"] == 1
        return
    # Ids start at 1: the one rule of commands that the message type does not hold.
    refused = isinstance(message, m.Command) and message.id == 0
    assert device.stats["bad_messages"] == refused


@settings(max_examples=300)
@given(
    st.integers(0, 3),
    st.floats(width=32) | st.integers(-(2**31), 2**32 - 1) | st.booleans(),
    st.integers(0, 2**64 - 1),
)
def test_c_carries_out_exactly_what_python_would_send(index, value, deadline_us):
    device = SimDevice()
    device.feed(seal(1, 0, m.encode(m.Hello(1, 5))))
    device.at(1000)
    device.poll()
    before = len(device.acts)
    device.feed(seal(4, 1, m.encode(m.Command(7, 1, index, value, deadline_us))))
    (receipt,) = (msg for k, _, p in Decoder().feed(device.poll()) if isinstance(msg := m.decode(k, p), m.Receipt))
    kind, low, high = [(m.ValueType.F32, 0, 100), (m.ValueType.I32, -10, 10), (m.ValueType.U32, 0, 20000),
                       (m.ValueType.BOOL, 0, 1)][index]  # fmt: skip
    if not m.fits(value, kind):
        expected = m.Status.TYPE
    elif not low <= value <= high:
        expected = m.Status.RANGE
    elif deadline_us < 1000:
        expected = m.Status.EXPIRED
    else:
        expected = m.Status.DONE
        assert receipt.value == value
    assert receipt.status is expected
    assert len(device.acts) - before == (expected is m.Status.DONE)
