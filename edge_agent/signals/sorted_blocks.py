"""Floats in ascending order, to be added, removed and looked up by rank."""

from __future__ import annotations

from bisect import bisect_left, insort

_BLOCK = 512


class SortedBlocks:
    """Duplicates are kept. Adding and removing is one search and one move inside a block of at most 1,024."""

    def __init__(self) -> None:
        self._blocks: list[list[float]] = []
        self._greatest: list[float] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, value: float) -> None:
        self._size += 1
        if not self._blocks:
            self._blocks.append([])
            self._greatest.append(value)
        at = min(bisect_left(self._greatest, value), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, value)
        if len(block) > 2 * _BLOCK:
            self._blocks.insert(at + 1, block[_BLOCK:])
            self._greatest.insert(at + 1, block[-1])
            del block[_BLOCK:]
        self._greatest[at] = block[-1]

    def remove(self, value: float) -> None:
        """`value` is one that was added."""
        self._size -= 1
        at = bisect_left(self._greatest, value)
        block = self._blocks[at]
        del block[bisect_left(block, value)]
        if block:
            self._greatest[at] = block[-1]
        else:
            del self._blocks[at], self._greatest[at]

    def at(self, rank: int) -> float:
        """The value of 0-based `rank`; walks over the blocks."""
        for block in self._blocks:
            if rank < len(block):
                return block[rank]
            rank -= len(block)
        raise IndexError(rank)
