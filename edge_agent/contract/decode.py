"""Reading rows back: the message in a body, its readings one by one, its wall time set right."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from edge_agent.contract import messages
from edge_agent.contract.rows import deflate
from edge_agent.errors import Rejected
from edge_agent.types import Value

MAX_TEXT = 16 * 1024 * 1024
"""Bytes of an inflated body: more is an attack or a mistake."""

_row: msgspec.json.Decoder[messages.RowMessage] = msgspec.json.Decoder(messages.RowMessage)


class Sample(msgspec.Struct, frozen=True):
    """One reading as a consumer sees it. `quality` names only the fields that are not good."""

    stream: str
    epoch: str
    seq: int
    t: int | None
    m: int
    values: dict[str, Value | None]
    quality: dict[str, int]


class _TimeBase(msgspec.Struct):
    """The fields of any row that its time stands in; the rest of the text is kept as it is."""

    schema: str = ""
    boot: str = ""
    t0: int | None = None
    t: int | None = None
    m0: int | None = None
    m: int | None = None
    tq: str = ""


class _RawSegments(msgspec.Struct):
    seg: list[msgspec.Raw]


_base = msgspec.json.Decoder(_TimeBase)
_raw_segments = msgspec.json.Decoder(_RawSegments)
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def inflate(body: bytes, most: int = MAX_TEXT) -> bytes:
    """The JSON text of a body. Raises Rejected for what is not deflated, cut short, or larger than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(body, most)
    except TypeError as error:
        raise Rejected("a row's body is no bytes") from error  # damage can change even a column's type
    except zlib.error as error:
        raise Rejected("a row's body is not deflated JSON", item=body[:64]) from error
    if not inflater.eof or inflater.unused_data:
        raise Rejected("a row's body is cut short, too large, or has more behind it", item=body[:64])
    return text


def decode_row(body: bytes) -> messages.RowMessage:
    """The message in a deflated body. Raises Rejected for anything that is not one of this version's shapes."""
    text = inflate(body)
    try:
        row = _row.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Rejected(f"a row's body is no message of this version: {error}", item=text[:64]) from error
    if isinstance(row, messages.Tele) and not all(map(_even, row.seg)):
        raise Rejected("a segment's columns differ in length", item=text[:64])
    return row


def samples(row: messages.Tele) -> Iterator[Sample]:
    """The readings of a row, stream by stream in the order of their numbers."""
    for segment in row.seg:
        elapsed = 0
        for i in range(segment.n):
            elapsed += segment.dt[i]
            yield Sample(
                stream=segment.stream,
                epoch=row.epoch,
                seq=segment.seq0 + i,
                t=None if row.t0 is None else row.t0 + elapsed,
                m=row.m0 + elapsed,
                values={name: channel.x[i] for name, channel in segment.ch.items()},
                quality={name: c.q[i] for name, c in segment.ch.items() if c.q is not None and c.q[i]},
            )


def lost(row: messages.GapMessage) -> Iterator[tuple[str, str, int, int, str]]:
    """(stream, epoch, first, last, reason) of everything that a gap record declares."""
    if row.gap is not None:
        yield row.gap.stream, row.gap.epoch, row.gap.from_, row.gap.to, row.gap.reason
    if row.gaps is not None:
        for stream, ranges in row.gaps.lost.items():
            for first, last in ranges:
                yield stream, row.gaps.epoch, first, last, row.gaps.reason


def hashes_hold(body: bytes) -> bool:
    """Whether every segment of a telemetry body has the hash that it names."""
    for raw in _raw_segments.decode(inflate(body)).seg:
        text, mark, closing = bytes(raw).rpartition(b',"h":"')
        if not mark or closing != b'%08x"}' % zlib.crc32(text):
            return False
    return True


class When(msgspec.Struct, frozen=True):
    """The instant of a row: wall and monotonic time in ms, None where it has none, and the boot of the second."""

    boot: str
    wall_ms: int | None
    mono_ms: int | None
    guessed: bool


def when(body: bytes) -> When:
    """What a row says of its time. Raises Rejected for a body that is damaged."""
    try:
        base = _base.decode(inflate(body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected("a row's body is no JSON object", item=body[:64]) from error
    wall_ms = base.t if base.t0 is None else base.t0
    return When(base.boot, wall_ms, base.m if base.m0 is None else base.m0, base.tq != "synced")


def restamp(body: bytes, offset_ms: int | None, quality: str) -> bytes:
    """The same row with its wall time derived anew: UTC of its boot is monotonic time plus `offset_ms`; null for
    None, where the time it was stamped with is known to be wrong and nothing better is known.

    Everything else, `h` included, stays byte for byte. A row without times is returned as it is.
    """
    text = inflate(body)
    base = _base.decode(text)
    fields = _raw_fields.decode(text)
    if base.m0 is not None:
        fields["t0"] = _raw(_wall_ms(base.m0, offset_ms))
    elif base.m is not None:
        fields["t"] = _raw(_wall_ms(base.m, offset_ms))
    else:
        return body
    fields["tq"] = _raw(quality)
    if base.schema == "infer/1":
        fields["inputs"] = _restamp_inputs(fields["inputs"], offset_ms)
    return deflate(_encode(fields))


def _restamp_inputs(inputs: msgspec.Raw, offset_ms: int | None) -> msgspec.Raw:
    """What a prediction was made from has an instant of its own."""
    m = _base.decode(inputs).m
    if m is None:
        return inputs
    return msgspec.Raw(_encode(_raw_fields.decode(inputs) | {"t": _raw(_wall_ms(m, offset_ms))}))


def _even(segment: messages.Segment) -> bool:
    channels = segment.ch.values()
    lengths = {len(segment.dt), *(len(c.x) for c in channels), *(len(c.q) for c in channels if c.q is not None)}
    return lengths == {segment.n}


def _wall_ms(m: int, offset_ms: int | None) -> int | None:
    return None if offset_ms is None else m + offset_ms


def _raw(value: int | str | None) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
