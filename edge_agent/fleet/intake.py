"""What a message from `up/…` says, taken apart for the database. No I/O.

Every numbered thing becomes a `Segment`; the ledger's entries, births and documents stand beside it. What is no
message of the contract becomes a `DeadLetter`, with the numbers that it claims where those can be read.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from edge_agent.contract import decode, messages, telemetry, topics
from edge_agent.errors import Rejected

MAX_BODY = 2 * topics.MAX_BODY
_MOST = 1 << 62
MAX_TEXT = 2 * telemetry.MAX_TEXT
"""Bytes of an inflated message that becomes many rows; what stays one row has the contract's bound."""
MAX_PARTS = 50_000
"""Readings of one message, or the ranges or streams that it declares. A gateway puts a fifth as many values in a row
as `row_limit` has bytes (96 KiB by default), and 4,000 ranges."""
_LONGEST_NAME = 128
_YEAR_1, _YEAR_9999 = -62_135_596_800_000, 253_402_300_799_000


class Series(NamedTuple):
    """One numbering."""

    tenant: str
    site: str
    gateway: str
    epoch: str
    stream: str

    @property
    def topics(self) -> topics.Gateway:
        return topics.Gateway(self.tenant, self.site, self.gateway)


class Reading(NamedTuple):
    seq: int
    t: int | None
    m: int
    fields: str
    quality: str | None


class Event(NamedTuple):
    kind: str
    t: int | None
    m: int | None
    body: str


class Segment(NamedTuple):
    """`n` numbers of a series from `seq0`. `h` stands for the content, times of the wall clock left out."""

    series: Series
    seq0: int
    n: int
    h: int
    boot: str
    tq: str
    readings: tuple[Reading, ...] = ()
    event: Event | None = None


class Gap(NamedTuple):
    series: Series
    first: int
    last: int
    reason: str


class Closing(NamedTuple):
    series: Series
    last: int
    lost: str


class Fix(NamedTuple):
    boot: str
    offset_ms: int
    uncertainty_ms: int


class Document(NamedTuple):
    """State of a gateway, or what became of a command (`cmd/ID`). A birth names its epoch's `start_no`."""

    gateway: topics.Gateway
    kind: str
    body: str
    epoch: str = ""
    start_no: int | None = None
    death: bool = False


class DeadLetter(NamedTuple):
    """`claims`: the (series, seq0) that it says it is."""

    topic: str
    body: bytes
    code: str
    why: str
    claims: tuple[tuple[Series, int], ...] = ()


class Delivery(NamedTuple):
    """One message."""

    topic: str
    body: bytes
    segments: tuple[Segment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    closings: tuple[Closing, ...] = ()
    fix: Fix | None = None
    document: Document | None = None
    dead: DeadLetter | None = None

    @property
    def rows(self) -> int:
        return sum(s.n for s in self.segments)


class _AnySegment(msgspec.Struct):
    stream: str
    seq0: int


class _Anything(msgspec.Struct):
    """What all versions of a row have."""

    schema: str
    gw: str
    epoch: str
    stream: str = ""
    seq: int = 0
    seg: list[_AnySegment] = []
    boot: str = ""
    t: int | None = None
    m: int | None = None
    tq: str = ""


class _Refused(Rejected):
    """With the code that the gateway is told."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


_SCHEMAS = frozenset({"tele/1", "gap/1", "close/1", "time_fix/1", "infer/1", "decision/1", "alert/1"})
_UNNUMBERED = frozenset({"media"})
"""Confirmed and not kept: pictures belong elsewhere."""
_MANY = (messages.Tele, messages.GapMessage, messages.Close)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_anything = msgspec.json.Decoder(_Anything)
_encode = msgspec.json.Encoder().encode


def read_message(topic: str, body: bytes) -> Delivery:
    """Never raises for anything that a broker can deliver."""
    where = topics.parse_topic(topic)
    if where is None or where.direction != topics.UP:
        return _dead(topic, body, "topic", "this is no topic of the contract")
    try:
        if where.kind in topics.RETAINED or where.kind == topics.CMD:
            return Delivery(topic, body, document=_document(where, body))
        return Delivery(topic, body) if where.kind in _UNNUMBERED else _row(where, topic, body)
    except Rejected as e:
        code = e.code if isinstance(e, _Refused) else "schema"
        return _dead(topic, body, code, e.message, _claims(where, body))


def unstorable(delivery: Delivery, why: str) -> Delivery:
    """The same message as the database sees it: as what it will not take."""
    claims = tuple((s.series, s.seq0) for s in delivery.segments)
    return _dead(delivery.topic, delivery.body, "unstorable", why, claims)


def _dead(topic: str, body: bytes, code: str, why: str, claims: tuple[tuple[Series, int], ...] = ()) -> Delivery:
    return Delivery(topic, body, dead=DeadLetter(topic[:512].replace("\0", ""), body, code, why[:500], claims))


def _row(where: topics.Topic, topic: str, body: bytes) -> Delivery:
    unknown = None if where.kind == topics.TELE else _unknown_kind(body)
    if unknown is not None:
        _same_gateway(where, unknown.gw)
        return Delivery(topic, body, (_event(where, unknown, body),))
    row = decode.decode_row(body)
    _same_gateway(where, row.gw)
    if isinstance(row, _MANY):
        decode.inflate(body, MAX_TEXT)
    if (parts := _parts(row)) > MAX_PARTS:
        raise Rejected(f"a message of {parts:,} parts, more than {MAX_PARTS:,}")
    if isinstance(row, messages.Tele):
        if not decode.hashes_hold(body):
            raise _Refused("a segment's hash does not fit its content", "hash")
        return Delivery(topic, body, tuple(_telemetry(where, row)))
    segment = _event(where, _common(body), body)
    match row:
        case messages.GapMessage():
            return Delivery(topic, body, (segment,), gaps=tuple(_gaps(where, row)))
        case messages.Close():
            return Delivery(topic, body, (segment,), closings=tuple(_closings(where, row)))
        case messages.TimeFix():
            fix = Fix(_name(row.boot), _bounded(row.offset_ms), _bounded(row.uncertainty_ms))
            return Delivery(topic, body, (segment,), fix=fix)
        case _:
            return Delivery(topic, body, (segment,))


def _parts(row: messages.RowMessage) -> int:
    """What becomes a row of the database, each."""
    match row:
        case messages.Tele():
            return sum(segment.n for segment in row.seg)
        case messages.GapMessage():
            return sum(map(len, row.gaps.lost.values())) if row.gaps else 1
        case messages.Close():
            return len(row.last)
        case _:
            return 1


def _common(body: bytes) -> _Anything:
    """Members that this version's shape of a message does not have are of any type there, and may be of none here."""
    try:
        return _anything.decode(decode.inflate(body))
    except _UNREADABLE as e:
        raise Rejected(f"a row that has something else where all rows have the same: {e}") from e


def _unknown_kind(body: bytes) -> _Anything | None:
    """A single numbered message of a kind that a later version has added: kept whole, never refused."""
    try:
        found = _anything.decode(decode.inflate(body))
    except _UNREADABLE:
        return None
    return found if found.schema not in _SCHEMAS and found.stream and not found.seg else None


def _telemetry(where: topics.Topic, row: messages.Tele) -> list[Segment]:
    at = iter(decode.samples(row))
    segments = []
    boot, tq = _name(row.boot), _name(row.tq)
    for s in row.seg:
        _range(s.seq0, s.n)
        readings = tuple(_reading(next(at)) for _ in range(s.n))
        series = _series(where, row.epoch, s.stream)
        segments.append(Segment(series, s.seq0, s.n, int(s.h, 16), boot, tq, readings))
    return segments


def _reading(sample: decode.Sample) -> Reading:
    quality = _encode(sample.quality).decode() if sample.quality else None
    return Reading(sample.seq, _wall(sample.t), _bounded(sample.m), _encode(sample.values).decode(), quality)


def _event(where: topics.Topic, row: _Anything, body: bytes) -> Segment:
    """`h` is over the text without its wall time: a row may be stamped anew before it is first sent."""
    _range(row.seq, 1)
    h = zlib.crc32(_timeless(body))
    m = None if row.m is None else _bounded(row.m)
    event = Event(_name(row.schema), _wall(row.t), m, _text(decode.inflate(body)))
    series = _series(where, row.epoch, row.stream)
    return Segment(series, row.seq, 1, h, row.boot[:_LONGEST_NAME], row.tq[:_LONGEST_NAME], event=event)


def _timeless(body: bytes) -> bytes:
    try:
        return decode.inflate(decode.restamp(body, None, ""))
    except _UNREADABLE as e:
        raise Rejected(f"a row whose time is none: {e}") from e


def _gaps(where: topics.Topic, row: messages.GapMessage) -> list[Gap]:
    gaps = []
    for stream, epoch, first, last, reason in decode.lost(row):
        _range(first, last - first + 1, most=_MOST)
        gaps.append(Gap(_series(where, epoch, stream), first, last, _name(reason)))
    return gaps


def _closings(where: topics.Topic, row: messages.Close) -> list[Closing]:
    lost = row.lost.replace("\0", "")[:500]
    return [Closing(_series(where, row.closed, stream), _bounded(last), lost) for stream, last in row.last.items()]


def _document(where: topics.Topic, body: bytes) -> Document:
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
        text = _encode(document).decode()
        state = msgspec.convert(document, messages.State) if where.kind == topics.STATE else None
    except _UNREADABLE as e:
        raise Rejected(f"a document that is none: {e}") from e
    gateway = topics.Gateway(where.tenant, where.site, where.gateway)
    if state is None:
        return Document(gateway, f"{where.kind}/{where.key}" if where.key else where.kind, text)
    _same_gateway(where, state.gw)
    start_no = None if state.start_no is None else _bounded(state.start_no)
    return Document(gateway, where.kind, text, _name(state.epoch), start_no, death=not state.online)


def _claims(where: topics.Topic, body: bytes) -> tuple[tuple[Series, int], ...]:
    try:
        found = _anything.decode(decode.inflate(body))
        _same_gateway(where, found.gw)
        ids = [(s.stream, s.seq0) for s in found.seg] or [(found.stream, found.seq)]
        if len(ids) > MAX_PARTS:
            return ()
        for _, seq in ids:
            _range(seq, 1)
        return tuple((_series(where, found.epoch, stream), seq) for stream, seq in ids)
    except (Rejected, *_UNREADABLE):
        return ()


@lru_cache(maxsize=50_000)
def _series(where: topics.Topic, epoch: str, stream: str) -> Series:
    return Series(where.tenant, where.site, where.gateway, _name(epoch), _name(stream))


def _same_gateway(where: topics.Topic, named: str) -> None:
    """What a gateway may write is said by its topics, at the broker; the body may not say otherwise."""
    if named != where.gateway:
        raise _Refused(f"it came on a topic of {where.gateway}, and says that it is of another", "gateway")


def _name(text: str) -> str:
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        raise Rejected(f"a name of {len(text)} characters, or with some that cannot be shown")
    return text


def _range(first: int, n: int, most: int = MAX_PARTS) -> None:
    if not (0 <= first <= _MOST and 0 < n <= most):
        raise Rejected(f"a range of {n} numbers from {first}")


def _bounded(number: int) -> int:
    if not -_MOST <= number <= _MOST:
        raise Rejected("a number that no counter reaches")
    return number


def _text(utf8: bytes) -> str:
    try:
        return utf8.decode()
    except UnicodeDecodeError as e:
        raise Rejected("a text that is no UTF-8") from e


def _wall(t: int | None) -> int | None:
    if t is not None and not _YEAR_1 <= t <= _YEAR_9999:
        raise Rejected("a time outside the years 1 to 9999")
    return t
