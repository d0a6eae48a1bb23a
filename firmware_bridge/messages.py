"""The messages of PROTOCOL.md section 3: frozen types, and their CBOR payloads both ways. No I/O.

`decode` raises BadMessage or UnknownType and nothing else, whatever the payload holds.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import Any, ClassVar

import cbor2

from firmware_bridge.errors import BadMessage, UnknownType

VERSION = 1
MAX_STREAMS = 64
MAX_ACTUATORS = 32
MAX_SAMPLES = 85

Value = bool | int | float


class ValueType(IntEnum):
    """The type of a stream or actuator."""

    BOOL = 0
    I32 = 1
    U32 = 2
    F32 = 3


class Status(IntEnum):
    """What became of a command, as the device says."""

    DONE = 0
    PENDING = 1
    FAILED = 2
    RANGE = 3
    TYPE = 4
    UNKNOWN = 5
    EXPIRED = 6
    STALE = 8
    SAFED = 9


class Float32(float):
    """A float that goes on the wire as CBOR float32."""


@dataclass(frozen=True, slots=True)
class Hello:
    TYPE: ClassVar[int] = 0x01
    version: int
    session: int
    boot: int | None = None
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    TYPE: ClassVar[int] = 0x02
    boot: int
    durable: int
    resend: int | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    TYPE: ClassVar[int] = 0x03
    token: int


@dataclass(frozen=True, slots=True)
class Command:
    TYPE: ClassVar[int] = 0x04
    boot: int
    id: int
    actuator: int
    value: Value
    deadline_us: int


@dataclass(frozen=True, slots=True)
class Info:
    TYPE: ClassVar[int] = 0x41
    version: int
    session: int
    boot: int
    device: str
    firmware: str
    streams: int
    actuators: int
    rx_max: int
    silence_ms: int
    acked: int
    first: int
    next: int
    ring: int
    time_us: int
    prev_boot: int | None = None
    prev_next: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    TYPE: ClassVar[int] = 0x42
    index: int
    name: str
    unit: str
    type: ValueType
    min: Value
    max: Value
    period_us: int


@dataclass(frozen=True, slots=True)
class Actuator:
    TYPE: ClassVar[int] = 0x43
    index: int
    name: str
    unit: str
    type: ValueType
    min: Value
    max: Value
    safe: Value


@dataclass(frozen=True, slots=True)
class Samples:
    """`items` is flat: stream, dt_us, value, and so on; checked to be whole, 1 to 85 samples."""

    TYPE: ClassVar[int] = 0x44
    boot: int
    first: int
    time_us: int
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Lost:
    TYPE: ClassVar[int] = 0x45
    boot: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Pong:
    TYPE: ClassVar[int] = 0x46
    token: int
    time_us: int
    sent: int
    safe_entries: int


@dataclass(frozen=True, slots=True)
class Receipt:
    TYPE: ClassVar[int] = 0x47
    id: int
    actuator: int
    status: Status
    value: Value | None
    time_us: int


@dataclass(frozen=True, slots=True)
class Safe:
    TYPE: ClassVar[int] = 0x48
    active: bool
    cause: int
    since_us: int
    entries: int
    silent_us: int
    unplaced: int


@dataclass(frozen=True, slots=True)
class Log:
    TYPE: ClassVar[int] = 0x49
    level: int
    text: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Health:
    TYPE: ClassVar[int] = 0x4A
    uptime_us: int
    reset_cause: int | None
    stack_free: int | None
    heap_free: int | None
    brownouts: int | None
    crc_errors: int
    bad_frames: int
    oversize: int
    bad_messages: int
    unknown: int
    overwritten: int
    log_dropped: int


Message = (
    Hello | Ack | Ping | Command | Info | Stream | Actuator | Samples | Lost | Pong | Receipt | Safe | Log | Health
)

Check = Callable[[Any], Any]
"""Returns the value as the message holds it, or raises ValueError."""


def _uint(limit: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= limit:
            raise ValueError
        return value

    return check


def _text(limit: int) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str or len(value.encode()) > limit:
            raise ValueError
        return value

    return check


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _value(value: Any) -> Value:
    if type(value) is int and not -(2**31) <= value < 2**32:
        raise ValueError
    if type(value) not in (bool, int, float):
        raise ValueError
    return value  # type: ignore[no-any-return]


def _value_or_null(value: Any) -> Value | None:
    return None if value is None else _value(value)


def _samples(items: Any) -> list[Any]:
    """Types by column, without a Python loop: this is the busiest message."""
    if type(items) is not list or not 3 <= len(items) <= 3 * MAX_SAMPLES or len(items) % 3:
        raise ValueError
    if set(map(type, items[0::3])) != {int} or set(map(type, items[1::3])) != {int}:
        raise ValueError
    if not set(map(type, items[2::3])) <= {bool, int, float, type(None)}:
        raise ValueError
    return items


_U8, _U32, _U64 = _uint(0xFF), _uint(0xFFFFFFFF), _uint(0xFFFFFFFFFFFFFFFF)
_NAME, _UNIT = _text(31), _text(15)
_OPTIONAL = True

# One row a key: attribute, check, and _OPTIONAL where the key may be absent.
_Field = tuple[str, Check] | tuple[str, Check, bool]
_LAYOUT: dict[type[Any], tuple[_Field, ...]] = {
    Hello: (("version", _U8), ("session", _U32), ("boot", _U32, _OPTIONAL), ("next", _U32, _OPTIONAL)),
    Ack: (("boot", _U32), ("durable", _U32), ("resend", _U32, _OPTIONAL)),
    Ping: (("token", _U32),),
    Command: (("boot", _U32), ("id", _U32), ("actuator", _U8), ("value", _value), ("deadline_us", _U64)),
    Info: (
        ("version", _U8),
        ("session", _U32),
        ("boot", _U32),
        ("device", _text(32)),
        ("firmware", _text(24)),
        ("streams", _uint(MAX_STREAMS)),
        ("actuators", _uint(MAX_ACTUATORS)),
        ("rx_max", _U8),
        ("silence_ms", _U32),
        ("acked", _U32),
        ("first", _U32),
        ("next", _U32),
        ("ring", _U32),
        ("time_us", _U64),
        ("prev_boot", _U32, _OPTIONAL),
        ("prev_next", _U32, _OPTIONAL),
    ),
    Stream: (
        ("index", _uint(MAX_STREAMS - 1)),
        ("name", _NAME),
        ("unit", _UNIT),
        ("type", ValueType),
        ("min", _value),
        ("max", _value),
        ("period_us", _U32),
    ),
    Actuator: (
        ("index", _uint(MAX_ACTUATORS - 1)),
        ("name", _NAME),
        ("unit", _UNIT),
        ("type", ValueType),
        ("min", _value),
        ("max", _value),
        ("safe", _value),
    ),
    Samples: (("boot", _U32), ("first", _U32), ("time_us", _U64), ("items", _samples)),
    Lost: (("boot", _U32), ("first", _U32), ("next", _U32)),
    Pong: (("token", _U32), ("time_us", _U64), ("sent", _U32), ("safe_entries", _U32)),
    Receipt: (
        ("id", _U32),
        ("actuator", _U8),
        ("status", Status),
        ("value", _value_or_null),
        ("time_us", _U64),
    ),
    Safe: (
        ("active", _bool),
        ("cause", _U8),
        ("since_us", _U64),
        ("entries", _U32),
        ("silent_us", _U64),
        ("unplaced", _U32),
    ),
    Log: (("level", _uint(3)), ("text", _text(64)), ("time_us", _U64)),
    Health: (
        ("uptime_us", _U64),
        ("reset_cause", _U8, _OPTIONAL),
        ("stack_free", _U32, _OPTIONAL),
        ("heap_free", _U32, _OPTIONAL),
        ("brownouts", _U32, _OPTIONAL),
        ("crc_errors", _U32),
        ("bad_frames", _U32),
        ("oversize", _U32),
        ("bad_messages", _U32),
        ("unknown", _U32),
        ("overwritten", _U32),
        ("log_dropped", _U32),
    ),
}
_BY_TYPE = {cls.TYPE: (cls, fields) for cls, fields in _LAYOUT.items()}


def _refuse(*_: Any) -> None:
    raise ValueError("tags are not part of this protocol")


# cbor2 would build big numbers, dates, regular expressions and shared structures out of these.
_NO_TAGS = dict.fromkeys(
    (*range(6), 25, *range(28, 31), *range(35, 38), 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse
)


def _payload(data: bytes) -> dict[int, Any]:
    stream = BytesIO(data)
    decoder = cbor2.CBORDecoder(
        stream,
        tag_hook=_refuse,
        semantic_decoders=_NO_TAGS,
        max_depth=4,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )
    try:
        payload = decoder.decode()
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise BadMessage(f"payload is not CBOR of this protocol: {error}") from error
    if type(payload) is not dict or stream.tell() != len(data):
        raise BadMessage("payload is not exactly one map")
    keys = list(payload)
    if not set(map(type, keys)) <= {int} or keys != sorted(keys) or (keys and keys[0] < 0):
        raise BadMessage("payload keys are not ascending unsigned integers")
    return payload


def decode(kind: int, data: bytes) -> Message:
    """The message in a frame of type `kind`. Raises BadMessage, or UnknownType before looking at `data`."""
    known = _BY_TYPE.get(kind)
    if known is None:
        raise UnknownType(f"frame type {kind:#04x} is not assigned in version {VERSION}")
    cls, fields = known
    payload = _payload(data)
    values: list[Any] = []
    for key, field in enumerate(fields):
        if key in payload:
            try:
                values.append(field[1](payload[key]))
            except ValueError as error:
                found = f"{payload[key]!r:.80}"
                raise BadMessage(f"{cls.__name__} key {key} ({field[0]}): not allowed: {found}") from error
        elif len(field) == 3:
            values.append(None)
        else:
            raise BadMessage(f"{cls.__name__} has no key {key} ({field[0]})")
    message: Message = cls(*values)
    return message


def _write_float32(encoder: cbor2.CBOREncoder, value: float) -> None:
    encoder.write(b"\xfa" + struct.pack(">f", value))


def encode(message: Message) -> bytes:
    """The payload of `message`; floats go out as float32."""
    payload = {}
    for key, field in enumerate(_LAYOUT[type(message)]):
        value = getattr(message, field[0])
        if value is None and len(field) == 3:
            continue
        payload[key] = [_wire(item) for item in value] if type(value) is list else _wire(value)
    return cbor2.dumps(payload, encoders={Float32: _write_float32})


def _wire(value: Any) -> Any:
    if type(value) is float:
        return Float32(value)
    return int(value) if isinstance(value, IntEnum) else value


_NAME_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")


def name_is_clean(name: str) -> bool:
    """Whether `name` may become part of a signal's name: no path, no control character, no wildcard."""
    return _NAME_RULE.fullmatch(name) is not None


def fits(value: Value | None, kind: ValueType) -> bool:
    """Whether `value` is of the wire type `kind`."""
    if kind is ValueType.BOOL:
        return type(value) is bool
    if kind is ValueType.F32:
        return type(value) is float
    low, high = (-(2**31), 2**31) if kind is ValueType.I32 else (0, 2**32)
    return isinstance(value, int) and type(value) is not bool and low <= value < high
