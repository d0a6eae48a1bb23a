"""Messages as a gateway's encoder makes them, for tests that play one."""

from __future__ import annotations

import msgspec

from edge_agent.contract import messages, topics
from edge_agent.contract.rows import RowEncoder, deflate
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.fleet.intake import Delivery, read_message
from edge_agent.types import ClockQuality, Reading, Record, Stamp

GATEWAY = topics.Gateway("t", "s", "gw1")
EPOCH = "01KDVDNA00Q3N5M7K9P2R4T6W8"
NEXT = "01KE0000000000000000000000"
T0 = 1_767_225_600_000


def stamp(i: int, *, synced: bool = True, ahead_ms: int = 0) -> Stamp:
    mono = (5_000 + i * 10) * 1_000_000
    quality = ClockQuality.SYNCED if synced else ClockQuality.GUESSED
    return Stamp(boot="8f14e45f", mono_ns=mono, wall_ns=mono + (T0 + ahead_ms) * 1_000_000, quality=quality)


def tele(
    first: int, n: int, *, stream: str = "press", offset: float = 0.0, epoch: str = EPOCH, synced: bool = True,
    gateway: topics.Gateway = GATEWAY, ahead_ms: int = 0,
) -> Delivery:  # fmt: skip
    """`n` readings of a stream from number `first`; `offset` changes their values."""
    builder = TeleBuilder(gateway.gateway, epoch, describe=lambda _: StreamSpec(), limit_bytes=100_000)
    for i in range(first, first + n):
        reading = Reading(stream, stamp(i, synced=synced, ahead_ms=ahead_ms), {"temp": 20.0 + i % 7 + offset})
        builder.append(Record(i, reading))
    (draft,), refused = builder.close()
    assert not refused
    return read_message(gateway.up(draft.kind, draft.key), draft.body)


def gap(seq: int, first: int, last: int, *, stream: str = "press") -> Delivery:
    lost = messages.GapRange(stream=stream, epoch=EPOCH, from_=first, to=last, reason="quota")
    return _ledger(RowEncoder("gw1", EPOCH).gap(seq, lost).body)


def close(seq: int, last: dict[str, int], *, closed: str = EPOCH, said_in: str = NEXT, lost: str = "") -> Delivery:
    return _ledger(RowEncoder("gw1", said_in).close(seq, closed=closed, last=last, lost=lost).body)


def time_fix(seq: int, offset_ms: int, *, said_in: str = EPOCH) -> Delivery:
    draft = RowEncoder("gw1", said_in).time_fix(seq, boot="8f14e45f", offset_ms=offset_ms, uncertainty_ms=40)
    return _ledger(draft.body)


def state(*, online: bool, epoch: str = EPOCH, start_no: int | None = 1) -> Delivery:
    document = messages.State(gw="gw1", online=online, epoch=epoch, start_no=start_no)
    return read_message(GATEWAY.up(topics.STATE), msgspec.json.encode(document))


def raw(kind: str, document: object, key: str = "") -> Delivery:
    return read_message(GATEWAY.up(kind, key), deflate(msgspec.json.encode(document)))


def _ledger(body: bytes) -> Delivery:
    return read_message(GATEWAY.up(topics.LEDGER), body)
