"""The window of fields that a model eats: rows of one stream, in order of event time, without holes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from edge_agent.types import SeqRange


class ModelInput:
    """Collects rows of `channels` numbers; every `stride` rows, once `length` are there, a window is ready.

    A row that lacks a number, or one from before the newest, cannot be part of a window: the first ends the run,
    and a new one has to fill up; the second is left out. Both are counted.
    """

    def __init__(self, *, channels: int, length: int, stride: int) -> None:
        self.shape = (channels, length)
        self.broken = 0
        self.late = 0
        self._length = length
        self._stride = stride
        self._rows = [array("f") for _ in range(channels)]
        self._seqs = array("q")
        self._due = length
        self._newest_ns = -1

    def push(self, mono_ns: int, seq: int, row: Sequence[float | None]) -> bool:
        """True when a window became ready."""
        if mono_ns < self._newest_ns:
            self.late += 1
            return False
        self._newest_ns = mono_ns
        if any(value is None for value in row):
            self.broken += bool(self._seqs)
            self._restart()
            return False
        for channel, value in zip(self._rows, row, strict=True):
            channel.append(value)  # type: ignore[arg-type]
        self._seqs.append(seq)
        self._due -= 1
        if self._due > 0:
            return False
        self._due = self._stride
        self._trim()
        return True

    def window(self) -> bytes:
        """float32 little-endian, (channels, length), oldest first. Only after `push` said so."""
        return b"".join(channel[-self._length :].tobytes() for channel in self._rows)

    def refs(self, stream: str, epoch: str) -> SeqRange:
        """The numbers of the window's rows; they need not be dense, a late row in between is not part of it."""
        return SeqRange(stream, epoch, self._seqs[-self._length], self._seqs[-1])

    def _restart(self) -> None:
        for channel in self._rows:
            del channel[:]
        del self._seqs[:]
        self._due = self._length

    def _trim(self) -> None:
        # the oldest rows leave in slices, so that a push costs O(1) on average
        excess = len(self._seqs) - self._length
        if excess >= self._length:
            for channel in self._rows:
                del channel[:excess]
            del self._seqs[:excess]
