"""What writer and uplink share: which rows are committed, and which of them need not be sent again.

Nothing is published before it is committed: a reader asks only for ids up to `newest`, which the writer moves
after COMMIT returned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

import msgspec

from edge_agent.contract.rows import PRIORITIES
from edge_agent.store.head import Settled
from edge_agent.store.ranges import Ranges

_KEPT_RANGES = 16
"""Per priority with each commit: what is beyond is sent again after a crash, and deduplicated by its key."""


class Verdict(msgspec.Struct, frozen=True):
    """A row that will never be delivered: it leaves the outbox for the dead letters, its numbers become a gap."""

    prio: int
    id: int
    code: str
    reason: str


class Outgoing:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._newest = [0 for _ in PRIORITIES]
        self._settled = [Ranges() for _ in PRIORITIES]
        self._verdicts: deque[Verdict] = deque()
        self._changes = 0
        self.damage = ""
        """What a reader found wrong with the file, empty while nothing is: the writer leaves it then."""
        self.generation = 0
        """Grows when the file is another one: readers open it anew."""

    def newest(self, prio: int) -> int:
        """The highest committed id, 0 before the first."""
        return self._newest[prio]

    def committed(self, newest: tuple[int, ...]) -> None:
        with self._lock:
            self._newest = list(newest)

    def settle(self, prio: int, first: int, last: int) -> None:
        """The rows of these ids, those that exist, need not be sent again."""
        with self._lock:
            self._settled[prio].add(first, last)
            self._changes += 1

    def vanished(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        """No row is left in these (priority, first, last): nothing to write down, the rows say so themselves."""
        with self._lock:
            for prio, first, last in ranges:
                self._settled[prio].add(first, last)

    def give_up(self, verdict: Verdict) -> None:
        with self._lock:
            self._verdicts.append(verdict)
            self._settled[verdict.prio].add(verdict.id, verdict.id)
            self._changes += 1

    def verdicts(self) -> list[Verdict]:
        """Those that the writer has not carried out yet, oldest first."""
        with self._lock:
            return list(self._verdicts)

    def carried_out(self, count: int) -> None:
        with self._lock:
            for _ in range(count):
                self._verdicts.popleft()

    def left(self, newest: tuple[int, ...]) -> None:
        """The file with all rows up to these was moved aside: nothing is to be done about them here any more."""
        self.vanished([(prio, 1, last) for prio, last in enumerate(newest)])
        with self._lock:
            self._verdicts.clear()
            self.damage = ""
            self.generation += 1

    def waiting(self, prio: int, after: int = 0) -> list[tuple[int, int]]:
        """Ranges of committed ids above `after` that are not settled, ascending; some ids may not exist."""
        with self._lock:
            return list(self._settled[prio].holes(after + 1, self._newest[prio]))

    def settled(self, prio: int) -> list[tuple[int, int]]:
        with self._lock:
            return list(self._settled[prio])

    @property
    def changes(self) -> int:
        """Grows with everything that has to be made durable."""
        return self._changes

    def to_keep(self, limit: int | None = _KEPT_RANGES) -> Settled:
        """The lowest ranges of each priority, to be written down.

        Without the rows that are given up and not yet declared: were only that known after a crash, they would be
        neither delivered nor declared.
        """
        with self._lock:
            given_up = [(verdict.prio, verdict.id) for verdict in self._verdicts]
            return tuple(
                tuple(_without(ranges, sorted(row_id for of, row_id in given_up if of == prio)))[:limit]
                for prio, ranges in enumerate(self._settled)
            )

    def restore(self, settled: Settled) -> None:
        """Adds what was written down; being delivered is never taken back."""
        with self._lock:
            for prio, ranges in enumerate(settled):
                for first, last in ranges:
                    self._settled[prio].add(first, last)


def _without(ranges: Iterable[tuple[int, int]], ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The ranges with these ids taken out; `ids` ascending."""
    for first, last in ranges:
        for row_id in ids:
            if first <= row_id <= last:
                if first < row_id:
                    yield first, row_id - 1
                first = row_id + 1  # noqa: PLW2901 - the rest of the range
        if first <= last:
            yield first, last
