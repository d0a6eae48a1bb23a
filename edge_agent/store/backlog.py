"""What waits to be delivered, since when, and when it will be gone at this speed: for status, which asks no disk."""

from __future__ import annotations

from collections import deque
from contextlib import closing, suppress
from typing import Any

from edge_agent.contract import decode
from edge_agent.contract.decode import When
from edge_agent.contract.rows import PRIORITIES
from edge_agent.errors import Rejected, Retryable
from edge_agent.ports import Clock
from edge_agent.store import database
from edge_agent.store.writer import Committed, Writer
from edge_agent.types import Stamp

_SECOND_NS = 1_000_000_000
_REMEMBERED = 64
"""Commits, a second apart or more: rows that came before them have their time looked up."""
_LOOK_UP_NS = 10 * _SECOND_NS


class Backlog:
    """`committed` is called on the store's thread, `to_dict` on any."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._path = writer.path
        self._outgoing = writer.outgoing
        self._clock = clock
        self._commits: deque[tuple[int, tuple[int, ...], int]] = deque(maxlen=_REMEMBERED)
        """When, the newest ids then, and how many rows waited."""
        self._old: dict[int, tuple[int, When]] = {}
        """By priority: id and instant of the row that was the oldest when it was looked up."""
        self._look_up_ns = 0

    def committed(self, committed: Committed) -> None:
        """Remembers at most one commit a second; looks up old rows at most every ten."""
        now_ns = self._clock.mono_ns()
        if not self._commits or now_ns - self._commits[-1][0] >= _SECOND_NS:
            self._commits.append((now_ns, committed.newest, self._rows()))
        if now_ns >= self._look_up_ns:
            self._look_up_ns = now_ns + _LOOK_UP_NS
            with suppress(Retryable):  # the store itself says what is wrong with the disk
                self._look_up()

    def to_dict(self) -> dict[str, Any]:
        """`rows` is about how many wait. `oldest_s` is None where nothing waits or nobody knows."""
        now = self._clock.now()
        ages = [self._age_s(prio, first, now) for prio, first in self._first()]
        known = [age for age in ages if age is not None]
        return {
            "rows": self._rows(),
            "oldest_s": round(max(known), 1) if known else None,
            "gone_in_s": self._gone_in_s(),
        }

    def _rows(self) -> int:
        waiting = self._outgoing.waiting
        return sum(last - first + 1 for prio in PRIORITIES for first, last in waiting(prio))

    def _first(self) -> list[tuple[int, int]]:
        """(priority, id) of the oldest waiting row of each priority that has one."""
        return [(prio, found[0][0]) for prio in PRIORITIES if (found := self._outgoing.waiting(prio))]

    def _age_s(self, prio: int, first: int, now: Stamp) -> float | None:
        if not self._is_old(prio, first):
            at_ns = next((at for at, newest, _ in tuple(self._commits) if newest[prio] >= first), now.mono_ns)
            return (now.mono_ns - at_ns) / 1e9
        looked_up = self._old.get(prio)
        return None if looked_up is None else _age_of(looked_up[1], now)

    def _is_old(self, prio: int, first: int) -> bool:
        """It was there before the first commit that is remembered."""
        return not self._commits or self._commits[0][1][prio] >= first

    def _look_up(self) -> None:
        old = {prio: first for prio, first in self._first() if self._is_old(prio, first)}
        found = {prio: known for prio, known in self._old.items() if old.pop(prio, None) == known[0]}
        if old:
            with closing(database.open_reader(self._path)) as db:
                for prio, first in old.items():
                    body = db.one(f"SELECT body FROM {database.ROW_TABLES[prio]} WHERE id = ?", (first,))  # noqa: S608
                    with suppress(Rejected):  # damaged: it is declared when it is read for sending
                        found[prio] = (first, decode.when(bytes(body or b"")))
        self._old = found

    def _gone_in_s(self) -> float | None:
        """At the speed of the last minute; None while it grows."""
        commits = tuple(self._commits)
        if len(commits) < 2:
            return None
        (began_ns, _, before), (ended_ns, _, after) = commits[0], commits[-1]
        gone = before - after
        return round(after * (ended_ns - began_ns) / 1e9 / gone, 1) if gone > 0 else None


def _age_of(row: When, now: Stamp) -> float | None:
    """By the monotonic clock within one boot, else by two wall clocks that were both right; None where none is."""
    if row.boot == now.boot and row.mono_ms is not None:
        return max(now.mono_ns / 1e9 - row.mono_ms / 1e3, 0.0)
    if row.wall_ms is None or row.guessed or not now.quality:
        return None
    return max(now.wall_ns / 1e9 - row.wall_ms / 1e3, 0.0)
