"""Application acknowledgements: what was committed since the last one, as few messages as that takes. No I/O.

A lost acknowledgement is repeated when the gateway sends again what it does not know to be held, so no process has to
remember more than its last batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edge_agent.contract import messages, topics
from edge_agent.fleet.commit import Outcome
from edge_agent.fleet.intake import Series

MOST_BYTES = 48 * 1024
"""Of one message: a gateway takes 64 KiB, and 4,096 ranges."""
_MOST_RANGES = 1000
_NAMED_BYTES, _RANGE_BYTES, _REJECT_BYTES = 8, 36, 96
"""At most: what a stream takes beside its name, a range, and a refusal beside the name of its stream."""

_Epoch = tuple[topics.Gateway, str]
_encode = msgspec.json.Encoder().encode


class Acks:
    """Gathers outcomes until they are taken."""

    def __init__(self) -> None:
        self._have: dict[_Epoch, dict[str, list[tuple[int, int]]]] = {}
        self._reject: dict[_Epoch, dict[tuple[str, int], str]] = {}

    def __bool__(self) -> bool:
        return bool(self._have or self._reject)

    def add(self, outcome: Outcome) -> None:
        for segment in outcome.held:
            ranges = self._have.setdefault(_epoch(segment.series), {}).setdefault(segment.series.stream, [])
            ranges.append((segment.seq0, segment.seq0 + segment.n - 1))
        for series, seq, code in outcome.rejected:
            self._reject.setdefault(_epoch(series), {})[series.stream, seq] = code

    def take(self) -> tuple[str, bytes] | None:
        """(topic, body) of one message for one gateway; None when nothing is left."""
        if not self:
            return None
        epoch = next(iter(self._have or self._reject))
        ack = self._next(epoch, _MOST_RANGES)
        return epoch[0].down(topics.ACK), _encode(ack)

    def _next(self, epoch: _Epoch, most: int) -> messages.Ack:
        room = MOST_BYTES
        streams = self._have.pop(epoch, {})
        have: dict[str, tuple[tuple[int, int], ...]] = {}
        while streams and most > 0 and room > 0:
            stream, ranges = streams.popitem()
            room -= len(stream.encode()) + _NAMED_BYTES
            joined = list(coalesced(ranges))
            fit = max(min(most, room // _RANGE_BYTES), 1)
            have[stream], rest = tuple(joined[:fit]), joined[fit:]
            most -= len(have[stream])
            room -= len(have[stream]) * _RANGE_BYTES
            if rest:
                streams[stream] = rest
        if streams:
            self._have[epoch] = streams
        return messages.Ack(epoch=epoch[1], have=have, reject=self._rejects(epoch, max(most, 1), room))

    def _rejects(self, epoch: _Epoch, most: int, room: int) -> list[messages.Reject]:
        waiting = self._reject.pop(epoch, {})
        now: list[messages.Reject] = []
        while waiting and len(now) < most and (room > 0 or not now):
            stream, seq = next(iter(waiting))
            now.append(messages.Reject(stream=stream, seq=seq, code=waiting.pop((stream, seq))))
            room -= len(stream.encode()) + _REJECT_BYTES
        if waiting:
            self._reject[epoch] = waiting
        return now


def coalesced(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending, and joined where they touch or overlap."""
    first, last = -1, -2
    for a, b in sorted(ranges):
        if a <= last + 1 and last >= first:
            last = max(last, b)
            continue
        if last >= first:
            yield first, last
        first, last = a, b
    if last >= first:
        yield first, last


def _epoch(series: Series) -> _Epoch:
    return series.topics, series.epoch
