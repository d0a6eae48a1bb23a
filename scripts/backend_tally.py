"""What a backend can prove about the gateways it hears: received, duplicates, declared gaps, lost. No I/O.

Keys and shapes: the contract's. A reading is (gateway, stream, epoch, seq); within an epoch every number from 0 to
the last must be received or declared as a gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from edge_agent.contract import decode, messages, topics
from edge_agent.errors import Rejected

Stream = tuple[str, str, str]
"""(gateway, epoch, stream)"""


class RangeSet:
    """Numbers as ascending ranges that neither touch nor overlap, both ends included."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self)

    def add(self, first: int, last: int) -> int:
        """How many of them are new."""
        lo = bisect_left(self._lasts, first - 1)
        hi = bisect_right(self._firsts, last + 1)
        old = sum(b - a + 1 for a, b in zip(self._firsts[lo:hi], self._lasts[lo:hi], strict=True))
        if lo < hi:
            first, last = min(first, self._firsts[lo]), max(last, self._lasts[hi - 1])
        self._firsts[lo:hi] = [first]
        self._lasts[lo:hi] = [last]
        return last - first + 1 - old

    def missing(self, last: int) -> Iterator[tuple[int, int]]:
        """The ranges of 0..last that are not in it."""
        at = 0
        for first, end in self:
            if first > last:
                break
            if first > at:
                yield at, first - 1
            at = end + 1
        if at <= last:
            yield at, last

    def highest(self) -> int:
        """-1 while empty."""
        return self._lasts[-1] if self._lasts else -1


@dataclass
class Verdict:
    """Counts of readings and other numbered entries."""

    received: int = 0
    duplicates: int = 0
    gaps: int = 0
    lost: int = 0
    conflicts: int = 0
    refused: int = 0
    holes: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """`gateway/epoch/stream`: what is neither received nor declared."""


class BackendTally:
    """Takes rows as they arrive, in any order and any number of times."""

    def __init__(self) -> None:
        self.received: dict[Stream, RangeSet] = {}
        self.declared: dict[Stream, RangeSet] = {}
        self.reasons: dict[str, int] = {}
        self.closed: dict[Stream, int] = {}
        self.online: dict[str, bool] = {}
        self._hashes: dict[tuple[Stream, int], tuple[int, str]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._duplicates = 0
        self._conflicts = 0
        self._refused = 0

    def take(self, topic: str, body: bytes) -> messages.RowMessage | None:
        """One message from `up/…`; None for one that is not a row or not acceptable (then it is counted)."""
        where = topics.parse_topic(topic)
        if where is None or where.direction != topics.UP:
            return None
        if where.kind in topics.RETAINED:
            self._document(where, body)
            return None
        try:
            row = decode.decode_row(body)
        except Rejected:
            self._refused += 1
            return None
        if isinstance(row, messages.Tele) and not decode.hashes_hold(body):
            self._refused += 1
            return None
        if isinstance(row, messages.Tele):
            for s in row.seg:
                self._segment((row.gw, row.epoch, s.stream), s.seq0, s.n, s.h)
        else:
            self._segment((row.gw, row.epoch, row.stream), row.seq, 1, "")
        self._ledger(row)
        self._changed.add((row.gw, row.epoch))
        return row

    def acks(self) -> Iterator[tuple[str, messages.Ack]]:
        """(gateway, acknowledgement) of the epochs from which something came since the last call."""
        changed, self._changed = self._changed, set()
        for gw, epoch in sorted(changed):
            have = {s: tuple(r) for (g, e, s), r in self.received.items() if (g, e) == (gw, epoch)}
            yield gw, messages.Ack(epoch=epoch, have=have)

    def verdict(self, committed: Mapping[Stream, int] | None = None) -> Verdict:
        """`committed`: the last number of each stream of epochs that are not closed; without it, what follows the
        last received number of such a stream cannot be missed."""
        out = Verdict(duplicates=self._duplicates, conflicts=self._conflicts, refused=self._refused)
        ends = {**(committed or {}), **self.closed}
        for stream in self.received.keys() | self.declared.keys() | ends.keys():
            received = self.received.get(stream, RangeSet())
            declared = self.declared.get(stream, RangeSet())
            known = RangeSet()
            for ranges in (received, declared):
                for first, last in ranges:
                    known.add(first, last)
            end = max(ends.get(stream, -1), received.highest(), declared.highest())
            out.received += len(received)
            out.gaps += len(known) - len(received)
            if holes := list(known.missing(end)):
                out.holes["/".join(stream)] = holes
                out.lost += sum(last - first + 1 for first, last in holes)
        return out

    def _segment(self, stream: Stream, seq0: int, n: int, digest: str) -> None:
        known = self._hashes.setdefault((stream, seq0), (n, digest))
        if known != (n, digest):
            self._conflicts += 1
            return
        new = self.received.setdefault(stream, RangeSet()).add(seq0, seq0 + n - 1)
        self._duplicates += n - new

    def _ledger(self, row: messages.RowMessage) -> None:
        if isinstance(row, messages.GapMessage):
            for stream, epoch, first, last, reason in decode.lost(row):
                new = self.declared.setdefault((row.gw, epoch, stream), RangeSet()).add(first, last)
                self.reasons[reason] = self.reasons.get(reason, 0) + new
        elif isinstance(row, messages.Close):
            for stream, last in row.last.items():
                self.closed[row.gw, row.closed, stream] = last

    def _document(self, where: topics.Topic, body: bytes) -> None:
        if where.kind == topics.STATE:
            try:
                state = msgspec.json.decode(body, type=messages.State)
            except msgspec.MsgspecError:
                self._refused += 1
                return
            self.online[state.gw] = state.online
