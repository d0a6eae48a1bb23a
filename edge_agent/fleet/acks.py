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
"""A gateway takes 64 KiB, and 4,096 ranges."""
_MOST_RANGES = 1000

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

    def clear(self) -> None:
        self._have.clear()
        self._reject.clear()

    def take(self) -> tuple[str, bytes] | None:
        """(topic, body) of one message for one gateway; None when nothing is left."""
        if not self:
            return None
        epoch = next(iter(self._have or self._reject))
        ack = self._next(epoch, _MOST_RANGES)
        return epoch[0].down(topics.ACK), _encode(ack)

    def _next(self, epoch: _Epoch, most: int) -> messages.Ack:
        streams = self._have.pop(epoch, {})
        have: dict[str, tuple[tuple[int, int], ...]] = {}
        while streams and most > 0:
            stream, ranges = streams.popitem()
            joined = list(coalesced(ranges))
            have[stream], rest = tuple(joined[:most]), joined[most:]
            most -= len(have[stream])
            if rest:
                streams[stream] = rest
        if streams:
            self._have[epoch] = streams
        rejects = self._reject.pop(epoch, {})
        now = list(rejects.items())[: max(most, 1)]
        if later := dict(list(rejects.items())[len(now) :]):
            self._reject[epoch] = later
        reject = [messages.Reject(stream=stream, seq=seq, code=code) for (stream, seq), code in now]
        return messages.Ack(epoch=epoch[1], have=have, reject=reject)


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
