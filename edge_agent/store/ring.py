"""Encoded rows on their way to the disk: they wait here while it refuses, and go by priority when that lasts."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.contract.rows import PRIORITIES, Draft
from edge_agent.store.gaps import GapSet


class Ring:
    """In the order in which they came; the oldest of the lowest priority goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._drafts: list[Draft] = []
        self.held_bytes = 0

    def add(self, drafts: Sequence[Draft]) -> None:
        self._drafts.extend(drafts)
        self.held_bytes += sum(len(d.body) for d in drafts)

    def group(self, most_bytes: int) -> list[Draft]:
        """The oldest that are to be committed together: at least one, if there is one."""
        room = most_bytes
        for i, draft in enumerate(self._drafts):
            room -= len(draft.body)
            if room < 0 and i:
                return self._drafts[:i]
        return self._drafts[:]

    def committed(self, count: int) -> None:
        """The oldest `count` are on the disk."""
        self.held_bytes -= sum(len(d.body) for d in self._drafts[:count])
        del self._drafts[:count]

    def shed(self, epoch: str, *, spare: int) -> GapSet:
        """What had to go to be under the limit again; the oldest `spare` may be on the disk already and stay."""
        lost = GapSet()
        spared, rest = self._drafts[:spare], self._drafts[spare:]
        for prio in reversed(PRIORITIES):
            rest = [draft for draft in rest if draft.prio != prio or not self._goes(draft, epoch, lost)]
        self._drafts = spared + rest
        return lost

    def _goes(self, draft: Draft, epoch: str, lost: GapSet) -> bool:
        if self.held_bytes <= self._limit_bytes:
            return False
        self.held_bytes -= len(draft.body)
        for stream, first, last in draft.segments:
            lost.add(stream, epoch, first, last, "overload")
        return True

    def __len__(self) -> int:
        return len(self._drafts)
