"""Values in Modbus registers and back: type, scale, word order. Pure."""

from __future__ import annotations

import math
import struct
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.errors import Rejected
from edge_agent.types import Value

Table = Literal["holding", "input", "coil", "discrete"]
Slave = Annotated[int, Meta(ge=0, le=247)]

_FORMATS = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "f32": ">f"}
_BIT_TABLES = ("coil", "discrete")
_STEP = 1e-6
"""Of a step of the scale: what the arithmetic may be off."""


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a value stands and how it is written: value = raw * scale + offset."""

    address: Annotated[int, Meta(ge=0, le=65_535)]
    """As on the wire, from 0: the manual's 40001 is holding 0."""
    table: Table = "holding"
    type: Literal["u16", "i16", "u32", "i32", "f32", "bool"] = "u16"
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    word_order: Literal["big", "little"] = "big"
    """Of the two registers of a 32-bit value; the bytes in a register are always big-endian."""
    bit: Annotated[int, Meta(ge=0, le=15)] | None = None
    """bool in a register: which bit, 0 is the least."""

    def __post_init__(self) -> None:
        if (self.table in _BIT_TABLES) and self.type != "bool":
            raise ValueError(f'table "{self.table}" holds type "bool" only')
        if (self.bit is not None) != (self.type == "bool" and self.table not in _BIT_TABLES):
            raise ValueError('`bit` goes with type "bool" in a register, and that with `bit`')
        if not self.scale or not math.isfinite(self.scale):
            raise ValueError("`scale` must be a number that is not 0")

    @property
    def size(self) -> int:
        """Registers, or bits of a bit table."""
        return 2 if self.type in ("u32", "i32", "f32") else 1

    @property
    def kind(self) -> str:
        """As FieldSpec.type."""
        if self.type == "bool":
            return "bool"
        whole = self.type != "f32" and self.scale.is_integer() and self.offset.is_integer()
        return "int" if whole else "double"


def decode(register: Register, words: list[int]) -> Value | None:
    """`words` has `size` of them. None for a float that is not finite."""
    if register.type == "bool":
        return bool(words[0] if register.bit is None else words[0] >> register.bit & 1)
    raw = struct.unpack(_FORMATS[register.type], _bytes(register, words))[0]
    value = raw * register.scale + register.offset
    if register.kind == "int":
        return int(value)
    return value if math.isfinite(value) else None


def encode(register: Register, value: Value) -> list[int]:
    """Raises Rejected for a value that does not fit."""
    if isinstance(value, str) or not math.isfinite(value):
        raise Rejected(f"{value!a:.40} is not a number", hint="give a number")
    if register.type == "bool":
        if value not in (0, 1):
            raise Rejected(f"{value!a} is not on or off", hint="give true or false")
        return [int(value)]
    scaled: float = (value - register.offset) / register.scale
    if register.type != "f32":
        if abs(scaled - round(scaled)) > _STEP:
            raise Rejected(f"{value!a} is no whole number of steps of {register.scale:g}", hint="round it")
        scaled = round(scaled)
    try:
        data = struct.pack(_FORMATS[register.type], scaled)
    except (struct.error, OverflowError) as e:
        raise Rejected(f"{value!a} does not fit into {register.type} with scale {register.scale:g}") from e
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return words if register.word_order == "big" else words[::-1]


def _bytes(register: Register, words: list[int]) -> bytes:
    ordered = words if register.word_order == "big" else words[::-1]
    return b"".join(word.to_bytes(2, "big") for word in ordered)
