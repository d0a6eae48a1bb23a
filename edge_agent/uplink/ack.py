"""What the backend says it holds: `down/ack`, read strictly, since rows leave the outbox by it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent.errors import Rejected
from edge_agent.links import strict_json
from edge_agent.ports import BackendAck

MAX_BYTES = 65_536
_MOST_STREAMS = 1024
_MOST_RANGES = 4096
"""Of all streams together, and of rejects."""

_Seq = Annotated[int, Meta(ge=0)]
_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class _Reject(msgspec.Struct, frozen=True):
    stream: _Name
    seq: _Seq
    code: _Code


class _Ack(msgspec.Struct, frozen=True, tag_field="schema", tag="ack/1"):
    """messages.Ack as it is received: with bounds."""

    epoch: _Name
    have: dict[_Name, list[tuple[_Seq, _Seq]]] = {}
    reject: Annotated[list[_Reject], Meta(max_length=_MOST_RANGES)] = []


def decode_ack(body: bytes) -> BackendAck:
    """Ranges ascending, touching ones joined. Raises Rejected for what is too large, malformed or nonsense; nothing
    of such a message counts."""
    if not body or len(body) > MAX_BYTES:
        raise Rejected(f"an acknowledgement of {len(body)} bytes", item=body[:200])
    try:
        ack = msgspec.convert(strict_json.loads(body), _Ack)
    except msgspec.ValidationError as e:
        raise Rejected(f"malformed: {e}", item=body) from e
    if len(ack.have) > _MOST_STREAMS or sum(map(len, ack.have.values())) > _MOST_RANGES:
        raise Rejected("more ranges than a backend needs", item=body)
    have = {stream: _joined(ranges, body) for stream, ranges in ack.have.items()}
    return BackendAck(ack.epoch, have, tuple((r.stream, r.seq, r.code) for r in ack.reject))


def _joined(ranges: list[tuple[int, int]], body: bytes) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if last < first:
            raise Rejected(f"malformed: a range from {first} back to {last}", item=body)
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)
