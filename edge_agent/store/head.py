"""What a stored row says of itself beside its body, so that no body is inflated to count, drop or acknowledge it.

The head repeats the body's numbers: with a damaged body it still tells exactly what was lost. It also carries
what the commit changed beside rows (devices' cursors, what was delivered), which makes those durable for free.
Being zlib, it checks itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Annotated

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.contract.rows import PRIORITIES, Draft
from edge_agent.errors import Rejected
from edge_agent.unreadable import UNREADABLE

Segments = tuple[tuple[str, int, int], ...]
"""(stream, first, last)."""
RowId = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Far from where SQLite's integers end, so that counting on never meets it."""
Settled = Annotated[tuple[tuple[tuple[RowId, RowId], ...], ...], msgspec.Meta(max_length=len(PRIORITIES))]
"""By priority: ranges of row ids that need not be sent again."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    segments: Segments
    guessed: bool = False
    cursors: dict[str, int] = {}
    settled: Settled = ()
    copy: bytes = b""
    """Of the body of a ledger entry: a declared loss must not be lost itself."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode


def encode_head(draft: Draft, settled: Settled) -> bytes:
    copy = draft.body if draft.kind == topics.LEDGER else b""
    return zlib.compress(_encode(Head(draft.segments, draft.guessed, draft.cursors or {}, settled, copy)), 6)


def decode_head(head: bytes) -> Head:
    """Raises Rejected when it is damaged."""
    try:
        return _decode(zlib.decompress(head))
    except (zlib.error, *UNREADABLE, TypeError) as error:  # TypeError: no bytes at all, as in a damaged page
        raise Rejected("a row's head is damaged") from error


def as_stored(value: object) -> bytes:
    """A column's bytes; nothing where damage changed even its type."""
    return value if isinstance(value, bytes) else b""


def row_crc(
    store: bytes, row_id: int, epoch_no: int, kind: str, key: str, n: int, head: bytes, body: bytes
) -> int:
    """Over everything in the row and the id of its store: a row that took another's place is as wrong as a flipped
    bit, and so is one that the -wal of another store brought along."""
    label = b"%b/" % store + f"{row_id}/{epoch_no}/{kind}/{key}/{n}/".encode("utf-8", "surrogateescape")
    return zlib.crc32(as_stored(body), zlib.crc32(as_stored(head), zlib.crc32(label)))


def ledger_body(head: bytes, body: bytes) -> bytes:
    """The body of a ledger entry, or its copy where it is damaged. Raises Rejected when both are."""
    try:
        decode.inflate(body)
    except Rejected:
        return decode_head(head).copy
    return body


def segments_of(kind: str, head: bytes, read_body: Callable[[], bytes]) -> Segments:
    """The numbers of a row whose head or body may be damaged. Raises Rejected when both are."""
    try:
        return decode_head(head).segments
    except Rejected:
        row = decode.decode_row(read_body())
    if kind == topics.TELE and isinstance(row, messages.Tele):
        return tuple((s.stream, s.seq0, s.seq0 + s.n - 1) for s in row.seg)
    if isinstance(row, messages.Tele):
        raise Rejected("a row's kind is not its body's")
    return ((row.stream, row.seq, row.seq),)
