"""Encoded rows and declared losses on their way to the disk, in the order of their numbers.

They wait here while the disk refuses, and rows go by priority when that lasts. A loss stays behind the rows that
were numbered before it: what is committed never has a hole that is not declared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.contract.rows import PRIORITIES, Draft
from edge_agent.store.gaps import GapSet


class Group(NamedTuple):
    """What is committed together: the oldest `entries` of the ring."""

    drafts: list[Draft]
    lost: GapSet
    entries: int


class Ring:
    """The oldest row of the lowest priority goes first when `limit_bytes` of bodies are passed."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: list[Draft | GapSet] = []
        self.held_bytes = 0

    def add(self, drafts: Sequence[Draft]) -> None:
        self._entries.extend(drafts)
        self.held_bytes += sum(len(d.body) for d in drafts)

    def lose(self, lost: GapSet) -> None:
        """Declares numbers that come after those of the rows added so far."""
        if lost:
            self._entries.append(lost)

    def group(self, most_bytes: int) -> Group:
        """At least one row, if there is one, and what was lost before the row that follows."""
        drafts: list[Draft] = []
        lost = GapSet()
        room = most_bytes
        for i, entry in enumerate(self._entries):
            if isinstance(entry, GapSet):
                lost.update(entry)
                continue
            room -= len(entry.body)
            if room < 0 and drafts:
                return Group(drafts, lost, i)
            drafts.append(entry)
        return Group(drafts, lost, len(self._entries))

    def committed(self, entries: int) -> None:
        """The oldest `entries` are on the disk."""
        self.held_bytes -= sum(len(e.body) for e in self._entries[:entries] if isinstance(e, Draft))
        del self._entries[:entries]

    def shed(self, epoch: str, *, spare: int) -> int:
        """Gets under the limit again; the oldest `spare` entries may be on the disk already and stay.

        Returns how many rows went.
        """
        going = self._going(spare)
        kept = self._entries[:spare]
        for entry in self._entries[spare:]:
            if isinstance(entry, Draft) and id(entry) not in going:
                kept.append(entry)
                continue
            if len(kept) <= spare or isinstance(kept[-1], Draft):
                kept.append(GapSet())
            _merge(kept[-1], entry, epoch)
        self._entries = kept
        return len(going)

    def _going(self, spare: int) -> set[int]:
        going: set[int] = set()
        for prio in reversed(PRIORITIES):
            for entry in self._entries[spare:]:
                if self.held_bytes <= self._limit_bytes:
                    return going
                if isinstance(entry, Draft) and entry.prio == prio:
                    going.add(id(entry))
                    self.held_bytes -= len(entry.body)
        return going

    def __len__(self) -> int:
        return len(self._entries)


def _merge(into: Draft | GapSet, entry: Draft | GapSet, epoch: str) -> None:
    assert isinstance(into, GapSet)
    if isinstance(entry, GapSet):
        into.update(entry)
        return
    for stream, first, last in entry.segments:
        into.add(stream, epoch, first, last, "overload")
