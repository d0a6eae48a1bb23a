"""The golden frames, in Python and in C: same bytes both ways, same counters for what is refused."""

from __future__ import annotations

import json

import pytest

import firmware_bridge.messages as m
from firmware_bridge.errors import BadMessage, UnknownType
from firmware_bridge.frame import Decoder, seal

from .device import SimDevice, c_open, c_seal, raw, vectors
from .make_vectors import fields

FRAMES = vectors("frames.json")
REJECTS = vectors("rejects.json")


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=[row["name"] for row in rows])


@named(FRAMES)
def test_python_reads_and_writes_the_golden_frame(row):
    ((kind, seq, payload),) = Decoder().feed(bytes.fromhex(row["wire"]))
    message = m.decode(kind, payload)
    assert (type(message).__name__, kind, seq) == (row["message"], row["type"], row["seq"])
    assert json.dumps(fields(message)) == json.dumps(row["fields"])
    assert seal(kind, seq, m.encode(message)).hex() == row["wire"]


@named(FRAMES)
def test_c_opens_and_seals_the_golden_frame(row):
    wire = bytes.fromhex(row["wire"])
    body = c_open(wire[:-1])
    assert isinstance(body, bytes)
    assert body[:2] == bytes((row["type"], row["seq"]))
    assert c_seal(body) == wire


@named([row for row in FRAMES if row["type"] < 0x40])
def test_c_takes_the_golden_host_message(row):
    device = SimDevice()
    device.feed(bytes.fromhex(row["wire"]))
    assert device.stats["good"] == 1
    assert device.stats["bad_messages"] == 0


@named(REJECTS)
def test_python_drops_and_counts_what_is_refused(row):
    decoder = Decoder()
    counter = ""
    for kind, _, payload in decoder.feed(bytes.fromhex(row["wire"])):
        try:
            m.decode(kind, payload)
        except UnknownType:
            counter = "unknown"
        except BadMessage:
            counter = "bad_messages"
    assert counter == row["counter"] or getattr(decoder.counters, row["counter"]) == 1
    assert decoder.feed(seal(3, 0, m.encode(m.Ping(1)))) != []


@named(REJECTS)
def test_c_drops_and_counts_what_is_refused(row):
    device = SimDevice()
    device.feed(bytes.fromhex(row["wire"]))
    moved = {name: count for name, count in device.stats.items() if count and name not in ("good", "safe_entries")}
    assert moved == {row["counter"]: 1}
    device.feed(seal(3, 0, m.encode(m.Ping(1))))
    assert device.stats["bad_messages"] + device.stats["unknown"] == moved.get("bad_messages", 0) + moved.get(
        "unknown", 0
    )


@named(FRAMES)
def test_every_truncation_is_dropped_and_the_next_frame_is_good(row):
    wire = bytes.fromhex(row["wire"])
    good = seal(3, 0, m.encode(m.Ping(1)))
    device = SimDevice()
    for cut in range(1, len(wire) - 1):
        decoder = Decoder()
        assert decoder.feed(wire[:cut] + b"\0") == []
        assert decoder.feed(good) == [(3, 0, good[3:-5])] or len(decoder.feed(good)) == 1
        before = device.stats["good"]
        device.feed(wire[:cut] + b"\0" + good)
        assert device.stats["good"] == before + 1


def test_c_answers_the_golden_conversation_byte_by_byte():
    device = SimDevice(boot=7, ring=4)
    recorded = {
        40: lambda: (device.at(30), device.sample(1, raw(21.5)), device.sample(2, 2**32 - 3), device.fault(3)),
        60: lambda: [device.sample(0, value) for value in range(6)],
        1_100_000: lambda: device.log(2, b"Ventil klemmt " * 4 + "1234567äöü".encode()),
    }
    for step in vectors("conversation.json"):
        recorded.get(step["time_us"], lambda: None)()
        device.at(step["time_us"])
        device.feed(bytes.fromhex(step["host"]))
        answer = device.poll()
        said = [m.decode(kind, payload) for kind, _, payload in Decoder().feed(answer)]
        assert [[type(message).__name__, fields(message)] for message in said] == step["reads"]
        assert answer.hex() == step["device"]
