"""Telemetry rows: the readings of all streams of one group in one commit, as columnar segments.

Appending only sorts readings by stream; columns are made when the row is closed, which is several times cheaper
than filling them value by value.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import islice, pairwise
from operator import sub

import msgspec

from edge_agent.contract import messages, topics
from edge_agent.contract.rows import Draft, deflate, time_quality
from edge_agent.types import Quality, Reading, Record, Stamp, Value

_STEP_NS = 50_000_000
"""A wall clock that moved by more than this against the monotonic one is another time base: another row."""
_BASES = 8
_BYTES_PER_VALUE = 5
"""Deflated, measured on noisy values with two decimals; a row that comes out larger is cut in two."""

MAX_TEXT = 1024 * 1024
"""Bytes of a row before it is deflated: texts that hardly change make a small body and much work for its reader."""
_NO_HASH = b',"h":""}'

_encode = msgspec.json.Encoder().encode


class StreamSpec(msgspec.Struct, frozen=True):
    """What a row says of a stream beside its readings: the group it is sent in, and units (UCUM) by field."""

    group: str = "all"
    units: dict[str, str] = {}


class _Buffer:
    """Readings of one stream on one time base."""

    __slots__ = ("records", "spec", "stream")

    def __init__(self, stream: str, spec: StreamSpec) -> None:
        self.stream = stream
        self.spec = spec
        self.records: list[Record] = []


class _Base:
    """Readings whose wall and monotonic times belong together."""

    __slots__ = ("buffers", "highest", "lowest", "stamp")

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        offset = stamp.wall_ns - stamp.mono_ns
        self.lowest = offset - _STEP_NS
        self.highest = offset + _STEP_NS
        self.buffers: dict[str, _Buffer] = {}

    def fits(self, stamp: Stamp) -> bool:
        return (
            self.lowest < stamp.wall_ns - stamp.mono_ns < self.highest
            and stamp.quality is self.stamp.quality
            and stamp.boot == self.stamp.boot
        )


class TeleBuilder:
    """Gathers numbered readings until `close`. Numbers of a stream must ascend.

    `full` tells that the row should be closed now; `limit_bytes` holds for every body that `close` returns.
    """

    def __init__(
        self, gateway: str, epoch: str, *, describe: Callable[[str], StreamSpec], limit_bytes: int
    ) -> None:
        self._gateway = gateway
        self._epoch = epoch
        self._describe = describe
        self._limit_bytes = limit_bytes
        self._most_values = max(limit_bytes // _BYTES_PER_VALUE, 1)
        self._bases: list[_Base] = []
        self._base: _Base | None = None
        self._values = 0

    @property
    def full(self) -> bool:
        return self._values >= self._most_values or len(self._bases) >= _BASES

    @property
    def empty(self) -> bool:
        return not self._bases

    def append(self, record: Record) -> None:
        reading = record.reading
        base = self._base
        if base is None or not base.fits(reading.stamp):
            base = self._rebase(reading.stamp)
        buffer = base.buffers.get(reading.stream)
        if buffer is None:
            buffer = self._new_buffer(base, reading.stream)
        buffer.records.append(record)
        self._values += len(reading.values)

    def close(self) -> tuple[list[Draft], list[tuple[str, int]]]:
        """The rows of all that was appended, and the (stream, seq) of readings that no row can carry."""
        drafts: list[Draft] = []
        refused: list[tuple[str, int]] = []
        for base in self._bases:
            by_group: dict[str, list[_Buffer]] = {}
            for buffer in base.buffers.values():
                by_group.setdefault(buffer.spec.group, []).append(buffer)
            for group, buffers in by_group.items():
                self._encode_within(base.stamp, group, buffers, drafts, refused)
        self._bases, self._base, self._values = [], None, 0
        return drafts, refused

    def _rebase(self, stamp: Stamp) -> _Base:
        base = next((b for b in self._bases if b.fits(stamp)), None)
        if base is None:
            base = _Base(stamp)
            self._bases.append(base)
        self._base = base
        return base

    def _new_buffer(self, base: _Base, stream: str) -> _Buffer:
        buffer = base.buffers[stream] = _Buffer(stream, self._describe(stream))
        return buffer

    def _encode_within(
        self,
        stamp: Stamp,
        group: str,
        buffers: list[_Buffer],
        drafts: list[Draft],
        refused: list[tuple[str, int]],
    ) -> None:
        """Encodes in one row, or in as many as the limit asks for; what no row can carry is refused alone."""
        alone = len(buffers) == 1 and len(buffers[0].records) == 1
        try:
            text = self._text(stamp, buffers)
        except UnicodeEncodeError:  # a text with half a surrogate pair is no JSON
            text = None
        body = deflate(text) if text is not None and (alone or len(text) <= MAX_TEXT) else None
        if body is not None and len(body) <= self._limit_bytes:
            drafts.append(_draft(stamp, group, buffers, body))
        elif alone:
            refused.append((buffers[0].stream, buffers[0].records[0].seq))
        else:
            for part in _halves(buffers):
                self._encode_within(stamp, group, part, drafts, refused)

    def _text(self, stamp: Stamp, buffers: list[_Buffer]) -> bytes:
        m0 = stamp.mono_ns // 1_000_000
        parts = [_segment(buffer, run, m0) for buffer in buffers for run in _dense_runs(buffer.records)]
        head = _encode(
            {
                "schema": "tele/1",
                "gw": self._gateway,
                "epoch": self._epoch,
                "boot": stamp.boot,
                "t0": stamp.wall_ns // 1_000_000,
                "m0": m0,
                "tq": time_quality(stamp.quality),
            }
        )
        return b'%s,"seg":[%s]}' % (head[:-1], b",".join(parts))


def _draft(stamp: Stamp, group: str, buffers: list[_Buffer], body: bytes) -> Draft:
    segments = tuple((b.stream, run[0].seq, run[-1].seq) for b in buffers for run in _dense_runs(b.records))
    cursors = {b.stream: c for b in buffers if (c := b.records[-1].reading.cursor) is not None}
    n = sum(len(buffer.records) for buffer in buffers)
    return Draft(topics.TELE, group, n, segments, body, not stamp.quality, cursors or None)


def _segment(buffer: _Buffer, records: list[Record], m0: int) -> bytes:
    """The text of one segment, closed by the CRC of what stands before it."""
    readings = [r.reading for r in records]
    ms = [r.stamp.mono_ns // 1_000_000 for r in readings]
    open_end = _encode(
        messages.Segment(
            stream=buffer.stream,
            seq0=records[0].seq,
            n=len(records),
            dt=[ms[0] - m0, *map(sub, islice(ms, 1, None), ms)],
            ch=_channels(readings, buffer.spec.units),
            h="",
        )
    )
    text = open_end[: -len(_NO_HASH)]
    return b'%s,"h":"%08x"}' % (text, zlib.crc32(text))


def _channels(readings: list[Reading], units: dict[str, str]) -> dict[str, messages.Channel]:
    columns = _columns([r.values for r in readings])
    qualities = [r.quality for r in readings]
    if any(qualities):
        return {
            name: messages.Channel(u=units.get(name, ""), x=x, q=_quality_column(name, qualities))
            for name, x in columns.items()
        }
    return {name: messages.Channel(u=units.get(name, ""), x=x) for name, x in columns.items()}


def _columns(values: list[dict[str, Value | None]]) -> dict[str, list[Value | None]]:
    """By field, in the order in which fields first occur; None where a reading has no such field."""
    names = values[0]
    if sum(map(len, values)) == len(names) * len(values):
        try:
            return {name: [v[name] for v in values] for name in names}
        except KeyError:
            pass
    names = dict.fromkeys(name for v in values for name in v)
    return {name: [v.get(name) for v in values] for name in names}


def _quality_column(name: str, qualities: list[dict[str, Quality] | None]) -> list[int] | None:
    column: list[int] = [q.get(name, Quality.GOOD) if q else Quality.GOOD for q in qualities]
    return column if any(column) else None


def _dense_runs(records: list[Record]) -> list[list[Record]]:
    """Cut where a number is missing, so that every segment is dense."""
    if records[-1].seq - records[0].seq == len(records) - 1:
        return [records]
    cuts = [0, *(i for i in range(1, len(records)) if records[i].seq != records[i - 1].seq + 1), len(records)]
    return [records[a:b] for a, b in pairwise(cuts)]


def _halves(buffers: list[_Buffer]) -> tuple[list[_Buffer], list[_Buffer]]:
    if len(buffers) > 1:
        middle = len(buffers) // 2
        return buffers[:middle], buffers[middle:]
    only = buffers[0]
    middle = len(only.records) // 2
    first, second = _Buffer(only.stream, only.spec), _Buffer(only.stream, only.spec)
    first.records, second.records = only.records[:middle], only.records[middle:]
    return [first], [second]
