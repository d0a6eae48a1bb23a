"""Losses waiting to be declared, merged as far as they touch, and the ledger rows that declare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_agent.contract import messages
from edge_agent.contract.rows import Draft, RowEncoder
from edge_agent.store.ranges import Ranges
from edge_agent.types import Gap

_RANGES_PER_ROW = 4000
"""Each takes about 5 bytes of a deflated body."""


class GapSet:
    """Ranges of numbers by (epoch, reason) and stream, and where devices stand after them."""

    def __init__(self) -> None:
        self._lost: dict[tuple[str, str], dict[str, Ranges]] = {}
        self.cursors: dict[str, tuple[int, int]] = {}
        """By stream: the number that a cursor came after, and the cursor."""

    def add(self, stream: str, epoch: str, first: int, last: int, reason: str) -> None:
        """Nothing where `last` is before `first`."""
        if last < first:
            return
        by_stream = self._lost.setdefault((epoch, reason), {})
        by_stream.setdefault(stream, Ranges()).add(first, last)

    def take(self, gap: Gap) -> None:
        self.add(gap.stream, gap.epoch, gap.first, gap.last, gap.reason)
        if gap.cursor is not None:
            self.mark(gap.stream, gap.last, gap.cursor)

    def mark(self, stream: str, last: int, cursor: int) -> None:
        """The device stands at `cursor` after the number `last`; the newest of a stream counts."""
        if last >= self.cursors.get(stream, (last, 0))[0]:
            self.cursors[stream] = last, cursor

    def update(self, other: GapSet) -> None:
        for stream, epoch, first, last, reason in other:
            self.add(stream, epoch, first, last, reason)
        for stream, (last, cursor) in other.cursors.items():
            self.mark(stream, last, cursor)

    def clear(self) -> None:
        self._lost.clear()
        self.cursors.clear()

    def __bool__(self) -> bool:
        return bool(self._lost or self.cursors)

    def __iter__(self) -> Iterator[tuple[str, str, int, int, str]]:
        """(stream, epoch, first, last, reason)."""
        for (epoch, reason), by_stream in self._lost.items():
            for stream, ranges in by_stream.items():
                for first, last in ranges:
                    yield stream, epoch, first, last, reason

    def counts(self) -> dict[str, int]:
        """How many numbers, by reason."""
        out: dict[str, int] = {}
        for _, _, first, last, reason in self:
            out[reason] = out.get(reason, 0) + last - first + 1
        return out

    def drafts(self, encoder: RowEncoder, first_seq: int) -> list[Draft]:
        """The ledger's entries from number `first_seq` on that declare everything in here."""
        entries: list[messages.GapRange | messages.GapRanges] = []
        for (epoch, reason), by_stream in self._lost.items():
            entries.extend(_entry(epoch, reason, part) for part in _parts(by_stream))
        return [encoder.gap(first_seq + i, entry) for i, entry in enumerate(entries)]


def _entry(epoch: str, reason: str, lost: messages.Ranges) -> messages.GapRange | messages.GapRanges:
    """The plain form for a single range."""
    if len(lost) == 1:
        ((stream, ranges),) = lost.items()
        if len(ranges) == 1:
            first, last = ranges[0]
            return messages.GapRange(stream=stream, epoch=epoch, from_=first, to=last, reason=reason)
    return messages.GapRanges(epoch=epoch, reason=reason, lost=lost)


def _parts(by_stream: dict[str, Ranges]) -> Iterable[messages.Ranges]:
    part: messages.Ranges = {}
    room = _RANGES_PER_ROW
    for stream, ranges in by_stream.items():
        waiting = tuple(ranges)
        while waiting:
            part[stream], waiting = waiting[:room], waiting[room:]
            room -= len(part[stream])
            if room == 0:
                yield part
                part, room = {}, _RANGES_PER_ROW
    if part:
        yield part
