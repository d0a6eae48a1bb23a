"""The twelve bad inputs of a serial line, and the answers required of whoever listens."""

from __future__ import annotations

import math
import random
import tracemalloc

import cbor2
import pytest

from firmware_bridge import messages as m
from firmware_bridge.events import Batch, Gap, GapReason, LineQuality, LogLine, Quality, Ready, Restarted
from firmware_bridge.frame import Decoder, seal
from firmware_bridge.session import Limits, Session, State

from .device import SimDevice, raw
from .world import World

MS = 1_000_000
INFO = m.Info(1, 9, 7, "dev", "1", 1, 0, 96, 1000, 0, 0, 0, 16, 0)
TEMP = m.Stream(0, "temp", "Cel", m.ValueType.F32, -40.0, 125.0, 0)


class Peer:
    """Writes whatever a device could, right or wrong, to a session that has been greeted."""

    def __init__(self, *entries: m.Message, info: m.Info = INFO, limits: Limits | None = None) -> None:
        self.session = Session(9, limits=limits)
        self.session.connected(0)
        self.seq = 0
        self.greeting = self.say(info, *(entries or (TEMP,)))

    def say(self, *messages: m.Message, now_ns: int = MS) -> list:
        wire = b"".join(self.frame(message.TYPE, m.encode(message)) for message in messages)
        return self.session.receive(wire, now_ns)

    def frame(self, kind: int, payload: bytes) -> bytes:
        self.seq = (self.seq + 1) & 255
        return seal(kind, self.seq - 1 & 255, payload)


def samples(first: int, *values: object, stream: int = 0, time_us: int = 5) -> m.Samples:
    return m.Samples(7, first, time_us, [part for value in values for part in (stream, 0, value)])


def test_35_bad_crc_drops_the_frame_counts_it_and_resynchronises():
    peer = Peer()
    bad = bytearray(peer.frame(0x44, m.encode(samples(0, 1.5))))
    bad[8] ^= 1
    assert peer.session.receive(bytes(bad), 0) == []
    assert peer.session.frames.crc_errors + peer.session.frames.bad_frames == 1
    (batch,) = peer.say(samples(0, 2.5))
    assert batch.values == (2.5,)


@pytest.mark.parametrize(
    "payload", ["", "bb00", "a4001b", "a3039bffffffffffffffff", "a4000701000205037bffffffffffffffff"]
)
def test_36_a_length_without_its_body_is_dropped_and_the_next_frame_is_good(payload):
    peer = Peer()
    wire = peer.frame(0x44, bytes.fromhex(payload)) + b"\xff\x01\x02\x00" + b"\x00\x00"
    assert peer.session.receive(wire, 0) == []
    assert peer.session.counters.bad_messages == 1
    assert len(peer.say(samples(0, 2.5))) == 1


def test_37_a_delimiter_in_the_payload_starts_no_frame():
    peer = Peer()
    peer.say(m.Safe(False, 0, 0, 1, 0, 0))
    (event,) = peer.say(m.Log(1, "a\0b\0\0c", 0))
    assert isinstance(event, LogLine)
    assert event.text == r"a\x00b\x00\x00c"
    assert peer.session.frames.damaged == 0


def test_38_two_glued_frames_are_two_and_one_split_over_single_bytes_is_one():
    peer = Peer()
    assert len(peer.say(samples(0, 1.0), samples(1, 2.0))) == 2
    wire = peer.frame(0x44, m.encode(samples(2, 3.0)))
    events = [event for byte in wire for event in peer.session.receive(bytes((byte,)), 0)]
    assert len(events) == 1


@pytest.mark.parametrize("megabytes", [1, pytest.param(10, marks=pytest.mark.long)])
def test_39_noise_gives_no_reading_bounded_memory_and_a_noisy_line(megabytes):
    peer = Peer(limits=Limits(noise_window_ns=100 * MS))
    dice = random.Random(5)
    events: list = []
    tracemalloc.start()
    for step in range(megabytes * 16):
        events += peer.session.receive(dice.randbytes(65536), step * 10 * MS)
        events += peer.session.tick(step * 10 * MS)
        peer.session.data_to_send()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not [event for event in events if isinstance(event, Batch | Ready | Gap)]
    assert [event.noisy for event in events if isinstance(event, LineQuality)] == [True]
    assert peak < 2_000_000
    assert peer.session.frames.good == 2


def test_40_an_unknown_type_is_counted_and_does_not_disturb():
    peer = Peer()
    wire = peer.frame(0x7F, b"\xff\xff") + peer.frame(0x44, m.encode(samples(0, 1.0)))
    assert len(peer.session.receive(wire, 0)) == 1
    assert peer.session.counters.unknown_types == 1
    assert peer.session.frames.damaged == 0


def test_40_an_unknown_version_is_said_once_and_nothing_is_taken():
    peer = Peer(info=m.Info(2, 9, 7, "dev", "1", 1, 0, 96, 1000, 0, 0, 0, 16, 0))
    assert [type(event).__name__ for event in peer.greeting] == ["Incompatible"]
    assert peer.say(m.Info(2, 9, 7, "dev", "1", 1, 0, 96, 1000, 0, 0, 0, 16, 0), samples(0, 1.0)) == []
    assert peer.session.state is State.GREETING


def test_41_non_finite_values_are_bad_minus_zero_is_zero_denormals_stay():
    tiny = 1.401298464324817e-45
    peer = Peer()
    (batch,) = peer.say(samples(0, math.nan, math.inf, -math.inf, -0.0, tiny, None, 126.0))
    assert batch.values == (None, None, None, 0.0, tiny, None, 126.0)
    assert math.copysign(1, batch.values[3]) == 1
    bad, good, out = Quality.BAD, Quality.GOOD, Quality.OUT_OF_RANGE
    assert list(batch.quality) == [bad, bad, bad, good, good, bad, out]


def test_41_a_value_of_another_type_than_declared_is_rejected():
    (batch,) = Peer().say(samples(0, True, 5, 2.0))
    assert list(batch.quality) == [Quality.REJECTED, Quality.REJECTED, Quality.GOOD]
    assert batch.values == (None, None, 2.0)


def test_42_a_counter_that_wraps_goes_on_and_one_that_rolls_back_is_a_restart():
    last = 2**32 - 1
    info = m.Info(1, 9, 7, "dev", "1", 1, 0, 96, 1000, last, last, last, 16, 0)
    peer = Peer(info=info)
    (batch,) = peer.say(samples(last, 1.0, 2.0))
    assert batch.cursor.next == 1
    events = peer.say(INFO, TEMP, samples(0, 9.0))
    assert [type(event) for event in events if not isinstance(event, Gap)] == [Restarted, Ready, Batch]
    assert events[0].rolled_back


def test_43_device_times_that_cannot_be_true_are_kept_but_not_used():
    world = World()
    world.until_live()
    world.device.at(2**40)
    world.device.count()
    world.device.at(world.device_us())
    (batch,) = [event for event in world.run(50) if isinstance(event, Batch)]
    assert batch.device_us == (2**40,)
    assert batch.offset_ns is None
    assert 0 < batch.received_ns <= world.now
    world.run(5)
    world.device.count()
    (batch,) = [event for event in world.run(50) if isinstance(event, Batch)]
    assert batch.offset_ns is not None
    host_ns = batch.device_us[0] * 1000 + batch.offset_ns
    assert abs(host_ns - batch.received_ns) < 20 * MS


@pytest.mark.parametrize("name", ["../x", "", "a b", "a/b", "0a", "a\x1b[31m", "temp#", "ü", "a\n"])
def test_44_a_stream_with_an_unclean_name_is_refused_its_samples_are_counted_not_used(name):
    peer = Peer(m.Stream(0, name, "1", m.ValueType.F32, 0.0, 1.0, 0))
    (ready,) = peer.greeting
    assert ready.device.streams == (None,)
    (refusal,) = ready.device.refused
    assert refusal.isprintable()
    assert len(refusal) < 200
    (batch,) = peer.say(samples(0, 1.0, 2.0))
    assert list(batch.quality) == [Quality.REJECTED] * 2


def test_44_samples_of_a_stream_that_was_never_declared_are_rejected():
    (batch,) = Peer().say(
        samples(0, 1.0, stream=63),
    )
    assert list(batch.quality) == [Quality.REJECTED]


@pytest.mark.parametrize("name", [b"x" * 256, b"\xff\xfe"])
def test_44_a_name_too_long_or_not_utf_8_is_no_message(name):
    peer = Peer()
    text = bytes((0x78, len(name))) + name if len(name) < 256 else b"\x79\x01\x00" + name
    payload = b"\xa7\x00\x00\x01" + text[:200] + b"\x02\x61\x31\x03\x03\x04\x00\x05\x00\x06\x00"
    peer.session.receive(peer.frame(0x42, payload), 0)
    assert peer.session.counters.bad_messages == 1


def test_45_a_flood_is_limited_and_what_is_dropped_is_declared():
    limits = Limits(max_samples_per_s=1000)
    peer = Peer(limits=limits)
    received = declared = number = 0
    for step in range(4000):
        for event in peer.say(samples(number, *[1.0] * 25), now_ns=step * MS // 2):
            if isinstance(event, Batch):
                received += len(event.values)
            elif isinstance(event, Gap):
                assert event.reason is GapReason.RATE_LIMIT
                declared += event.end - event.first
        number += 25
    assert received + declared == 100_000
    assert 5_000 <= received <= 7_100


def test_45_the_device_sheds_by_overwriting_and_says_how_much():
    device = SimDevice(ring=16)
    device.feed(seal(1, 0, m.encode(m.Hello(1, 5))))
    device.poll()
    device.room(0)
    for _ in range(1000):
        device.sample(1, raw(1.0))
    device.room(10**6)
    said = [m.decode(kind, payload) for kind, _, payload in Decoder().feed(device.poll())]
    lost = [message for message in said if isinstance(message, m.Lost)]
    assert sum(message.next - message.first for message in lost) == 1000 - 16
    assert device.stats["overwritten"] == 984


def test_a_line_that_echoes_the_host_is_not_a_device():
    session = Session(9)
    session.connected(0)
    for step in range(100):
        assert session.receive(session.data_to_send(), step * 300 * MS) == []
        session.tick(step * 300 * MS)
    assert session.state is State.GREETING
    assert session.counters.unexpected > 0


def test_another_device_at_the_port_is_named_and_nothing_of_it_is_taken():
    peer = Peer()
    other = m.Info(1, 9, 99, "other", "1", 1, 0, 96, 1000, 0, 0, 0, 16, 0)
    (event,) = peer.say(other, samples(0, 1.0))
    assert (event.expected, event.found) == ("dev", "other")
    assert peer.say(other) == []


def test_a_hostile_device_cannot_make_the_session_grow():
    dice = random.Random(2)
    peer = Peer()
    tracemalloc.start()
    for step in range(3000):
        kind = dice.choice((0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A))
        payload = {key: dice.choice((0, 1, 7, 63, 2**32 - 1, "a", f"n{step}", True, None)) for key in range(16)}
        peer.session.receive(peer.frame(kind, cbor2.dumps(payload)), step * MS)
        peer.session.tick(step * MS)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 200_000
    assert len(peer.session.data_to_send()) < 9000
