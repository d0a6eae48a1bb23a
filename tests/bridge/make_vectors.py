"""Writes firmware_bridge/vectors/. Run it when PROTOCOL.md changes, and read the difference before committing.

python -m tests.bridge.make_vectors
"""

from __future__ import annotations

import json
from dataclasses import asdict
from zlib import crc32

from firmware_bridge.frame import Decoder, cobs_encode, seal
from firmware_bridge.messages import (
    Ack,
    Actuator,
    Command,
    Health,
    Hello,
    Info,
    Log,
    Lost,
    Message,
    Ping,
    Pong,
    Receipt,
    Safe,
    Samples,
    Status,
    Stream,
    ValueType,
    decode,
    encode,
)

from .device import VECTORS, SimDevice, raw

U32, U64 = 2**32 - 1, 2**64 - 1

FRAMES: dict[str, Message] = {
    "hello": Hello(1, 0xCAFEF00D),
    "hello with cursor": Hello(1, 1, 7, 1234),
    "ack": Ack(7, 1234),
    "ack resend across the wrap": Ack(U32, U32, 0),
    "ping with zeros": Ping(0),
    "ping": Ping(0x01000001),
    "command f32": Command(7, 1, 0, 12.5, 1_000_000),
    "command i32": Command(7, 2, 1, -7, U64),
    "command u32": Command(7, 3, 2, 20000, 0),
    "command bool": Command(7, 4, 3, True, 2**32),
    "info": Info(1, 0xCAFEF00D, 7, "sim-1", "1.2.3", 4, 4, 254, 1000, 0, 0, 0, 256, 1500),
    "info of a second boot": Info(1, 1, 8, "sim-1", "1.2.3", 4, 4, 96, 1000, 5, 6, 7, 256, 0, 7, 4321),
    "info, all at most": Info(255, U32, U32, "d" * 32, "f" * 24, 64, 32, 254, U32, U32, U32, U32, U32, U64, U32, U32),
    "stream f32": Stream(1, "temp", "Cel", ValueType.F32, -40.0, 125.0, 100000),
    "stream i32": Stream(2, "level", "mm", ValueType.I32, -1000, 1000, 0),
    "actuator bool": Actuator(3, "lamp", "1", ValueType.BOOL, False, True, True),
    "actuator u32": Actuator(31, "a" * 31, "u" * 15, ValueType.U32, 0, U32, 5),
    "samples": Samples(7, 0, 1500, [0, 0, 0, 1, 250, 21.5, 2, 0, -3, 3, 70000, True, 1, 0, None]),
    "samples, backwards in time": Samples(7, U32, U64, [0, 0, 1, 0, -1, 2]),
    "samples, special floats": Samples(
        7, 9, 0, [1, 0, -0.0, 1, 0, float("inf"), 1, 0, float("-inf"), 1, 0, 1.401298464324817e-45]
    ),
    "samples, most": Samples(0, 0, 0, [0, 0, False] * 76),
    "lost": Lost(7, 100, 200),
    "pong": Pong(0x01000001, 123456789, 5, 1),
    "receipt done": Receipt(1, 0, Status.DONE, 12.5, 999),
    "receipt expired": Receipt(3, 2, Status.EXPIRED, None, 2**40),
    "safe by silence": Safe(True, 1, 5_000_000, 2, 1_000_250, 0),
    "safe, one stuck": Safe(True, 0, 0, 1, 0, 0b1010),
    "log": Log(2, "Ventil klemmt: 40 µm", 77),
    "log, empty": Log(0, "", 0),
    "health": Health(10**7, 3, 512, None, 2, 1, 2, 3, 4, 5, 6, 7),
    "health, least": Health(0, None, None, None, None, 0, 0, 0, 0, 0, 0, 0),
}


def fields(message: Message) -> dict[str, object]:
    """The message's fields as JSON can say them: infinities as text."""

    def plain(value: object) -> object:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, float) and abs(value) == float("inf") else value

    return {name: plain(value) for name, value in asdict(message).items()}


def sealed(body: bytes) -> str:
    return (cobs_encode(body + crc32(body).to_bytes(4, "little")) + b"\0").hex()


def rejects() -> list[dict[str, str]]:
    """Frames that a receiver drops: by their host type, so that both sides can be asked."""
    ping = bytes.fromhex(sealed(b"\x03\x00\xa1\x00\x05"))
    flipped = ping[:3] + bytes([ping[3] ^ 1]) + ping[4:]
    cases = {
        "bit flip": ("crc_errors", flipped.hex()),
        "CRC missing": ("bad_frames", "0203010100"),
        "one byte": ("bad_frames", "0100"),
        "code beyond the end": ("bad_frames", "ff0102030405060700"),
        "256 bytes without delimiter": ("oversize", "01" * 256 + "00"),
        "1,000 bytes without delimiter": ("oversize", "55" * 1_000 + "00"),
        "type not assigned": ("unknown", sealed(b"\x3f\x00\xa0")),
        "SMP look-alike 0x09": ("unknown", sealed(b"\x09\x00\xa0")),
        "SMP look-alike 0x14": ("unknown", sealed(b"\x14\x00\xa0")),
    }
    payloads = {
        "empty payload": "",
        "no map": "05",
        "key missing": "a0",
        "wrong type": "a1006131",
        "null for a number": "a100f6",
        "out of range": "a1001b0000000100000000",
        "negative": "a10020",
        "keys descending": "a201000005",
        "key twice": "a200050005",
        "text key": "a1613005",
        "negative key": "a12005",
        "indefinite map": "bf0005ff",
        "indefinite array in an unknown key": "a20005189f9f01ff",
        "byte after the map": "a1000500",
        "cut in the map": "a2000518",
        "string longer than the frame": "a20005187979ffff41",
        "string of 2^64 - 1": "a2000518797bffffffffffffffff",
        "array of 2^32": "a2000518799affffffff",
        "tag": "a100c105",
        "big float by tag": "a20005187ac5821b7fffffffffffffff01",
        "reserved head": "a1001c",
    }
    for name, payload in payloads.items():
        cases[name] = ("bad_messages", sealed(b"\x03\x00" + bytes.fromhex(payload)))
    return [{"name": name, "counter": counter, "wire": wire} for name, (counter, wire) in cases.items()]


def conversation() -> list[dict[str, object]]:
    """What the C library answers, byte by byte, to a fixed sequence of frames."""
    device = SimDevice(boot=7, ring=4)
    steps: list[dict[str, object]] = []
    seq = 0

    def step(us: int, *messages: Message) -> None:
        nonlocal seq
        wire = b""
        for message in messages:
            wire += seal(message.TYPE, seq, encode(message))
            seq += 1
        device.at(us)
        device.feed(wire)
        answer = device.poll()
        said = [decode(kind, payload) for kind, _, payload in Decoder().feed(answer)]
        reads = [[type(message).__name__, fields(message)] for message in said]
        steps.append({"time_us": us, "host": wire.hex(), "device": answer.hex(), "reads": reads})

    step(10)
    step(20, Ping(1))
    step(30, Hello(1, 99))
    device.sample(1, raw(21.5))
    device.sample(2, 2**32 - 3)
    device.fault(3)
    step(40)
    step(50, Ack(7, 2), Ping(2))
    for value in range(6):
        device.sample(0, value)
    step(60, Ack(7, 2, 2))
    step(70, Command(7, 1, 0, 50.0, 1000), Command(7, 1, 0, 50.0, 1000), Command(7, 2, 0, 101.0, 1000))
    step(2000, Command(7, 3, 1, 3, 1999), Command(7, 4, 9, 3, 9999), Command(7, 5, 1, 3.0, 9999))
    device.log(2, b"Ventil klemmt " * 4 + "1234567äöü".encode())
    step(1_100_000)
    step(1_200_000, Ping(3), Command(6, 6, 1, 3, 9_999_999))
    return steps


def main() -> None:
    frames = []
    for index, (name, message) in enumerate(FRAMES.items()):
        wire = seal(message.TYPE, index, encode(message))
        frames.append({"name": name, "message": type(message).__name__, "type": message.TYPE, "seq": index,
                       "fields": fields(message), "wire": wire.hex()})  # fmt: skip
    VECTORS.mkdir(exist_ok=True)
    for name, rows in (("frames", frames), ("rejects", rejects()), ("conversation", conversation())):
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (VECTORS / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
