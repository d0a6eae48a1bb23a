"""frame.py: what is framed comes back, what is damaged does not, one good frame is lost at most."""

from __future__ import annotations

import random
import time
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import FrameTooLong
from firmware_bridge.frame import MAX_FRAME, Decoder, cobs_decode, cobs_encode, seal

bodies = st.binary(max_size=MAX_FRAME - 6) | st.lists(st.sampled_from([b"\0", b"a" * 60, b"b" * 127])).map(
    lambda parts: b"".join(parts)[: MAX_FRAME - 6]
)


@given(st.binary(max_size=1200) | st.integers(0, 1100).map(lambda n: b"x" * n))
def test_cobs_round_trip_holds_no_zero_and_costs_one_byte_in_254(data):
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@given(st.integers(0, 255), st.integers(0, 255), bodies, st.data())
def test_a_frame_split_anywhere_comes_back_once(kind, seq, payload, data):
    wire = seal(kind, seq, payload)
    assert len(wire) <= MAX_FRAME + 2
    cut = data.draw(st.integers(0, len(wire)))
    decoder = Decoder()
    frames = decoder.feed(wire[:cut]) + decoder.feed(wire[cut:])
    assert frames == [(kind, seq, payload)]
    assert decoder.counters.damaged == 0


@given(st.binary(max_size=700), bodies, bodies)
def test_after_any_garbage_at_most_one_good_frame_is_lost(garbage, first, second):
    decoder = Decoder()
    decoder.feed(garbage)
    frames = decoder.feed(seal(1, 0, first) + seal(2, 1, second))
    assert (2, 1, second) in frames


@given(bodies, st.integers(0, 2**31), st.integers(1, 255))
def test_a_changed_byte_is_never_accepted(payload, place, change):
    wire = bytearray(seal(3, 4, payload))
    wire[place % (len(wire) - 1)] ^= change
    assert (3, 4, payload) not in Decoder().feed(bytes(wire))
    assert all(frame == (3, 4, payload) for frame in Decoder().feed(bytes(wire)))


@given(st.lists(st.binary(max_size=400), max_size=20), st.integers(0, 20))
def test_unfinished_input_is_bounded_whatever_comes(pieces, long_at):
    decoder = Decoder()
    pieces.insert(long_at, b"\x55" * (MAX_FRAME + 2))
    for piece in pieces:
        decoder.feed(piece.replace(b"\0", b"\1"))
        assert len(decoder._rest) <= MAX_FRAME + 1


def test_oversize_input_is_counted_once_and_the_next_frame_is_good():
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b"\x55" * 1000) == []
    assert decoder.feed(b"\0" + seal(1, 1, b"\xa0")) == [(1, 1, b"\xa0")]
    assert decoder.counters.oversize == 1


def test_lost_frames_are_counted_from_seq_across_its_wrap():
    decoder = Decoder()
    for seq in (254, 255, 0, 3):
        decoder.feed(seal(1, seq, b"\xa0"))
    assert decoder.counters.lost == 2


def test_reset_forgets_the_unfinished_frame():
    decoder = Decoder()
    decoder.feed(seal(1, 0, b"\xa0")[:-3])
    decoder.reset()
    assert decoder.feed(seal(1, 9, b"\xa1\x00\x01")) == [(1, 9, b"\xa1\x00\x01")]
    assert decoder.counters.lost == 0


def test_a_payload_longer_than_a_frame_is_refused_before_the_wire():
    seal(1, 0, bytes(MAX_FRAME - 6))
    with pytest.raises(FrameTooLong):
        seal(1, 0, bytes(MAX_FRAME - 5))


def test_the_check_value_of_the_specification():
    assert crc32(b"123456789") == 0xCBF43926


@pytest.mark.slow
def test_decoder_takes_50_mb_a_second_of_cpu_on_200_byte_frames():
    dice = random.Random(1)
    wire = b"".join(seal(1, i, dice.randbytes(194)) for i in range(5000))
    best = 0.0
    for _ in range(3):
        decoder = Decoder()
        start = time.process_time()
        for at in range(0, len(wire), 4096):
            decoder.feed(wire[at : at + 4096])
        best = max(best, len(wire) / (time.process_time() - start) / 1e6)
    assert decoder.counters.good == 5000
    assert best >= 50, f"{best:.0f} MB/s"
