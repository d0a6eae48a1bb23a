"""Rows that the next hop refused for now, or that seem to break the connection: tried again later, not for ever."""

from __future__ import annotations

import heapq

Key = tuple[int, int]

MOST = 64
"""Rows of a priority set aside at once; with more, nothing new of it is sent until one of them is through."""
TRIES = 8
TRIALS = 5
"""Of a row that breaks connections: each is a proof of its own."""
_FIRST_NS = 1_000_000_000
_MOST_NS = 60_000_000_000
PATIENT = frozenset({"quota_exceeded", "not_authorized"})
"""Refusals that say nothing about the row: it is kept however long they last."""
DISCONNECTS = "disconnects"
"""The row was alone in flight, on a connection that had just worked, when the connection broke."""


class _Entry:
    __slots__ = ("code", "due_ns", "tries")

    def __init__(self) -> None:
        self.code = ""
        self.due_ns = 0
        self.tries = 0


class SetAside:
    """A row waits 1 s, then twice as long each time, at most a minute."""

    def __init__(self) -> None:
        self._rows: dict[Key, _Entry] = {}
        self._due: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def full(self, prio: int) -> bool:
        return len(self._rows) >= MOST and sum(key[0] == prio for key in self._rows) >= MOST

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def put(self, key: Key, code: str, now_ns: int) -> bool:
        """False when it was tried often enough: it will never be taken, and is forgotten here."""
        entry = self._rows.setdefault(key, _Entry())
        entry.tries += 1
        entry.code = code
        if entry.tries >= (TRIALS if code == DISCONNECTS else TRIES) and code not in PATIENT:
            del self._rows[key]
            return False
        entry.due_ns = now_ns + min(_FIRST_NS << min(entry.tries - 1, 10), _MOST_NS)
        heapq.heappush(self._due, (entry.due_ns, key))
        return True

    def due(self, now_ns: int) -> Key | None:
        """The next row to try now; it stays known here until `done`, so that its tries count."""
        self._drop_stale()
        return self._due[0][1] if self._due and self._due[0][0] <= now_ns else None

    def took(self, key: Key) -> None:
        """It is being tried: not due until it is put back."""
        self._rows[key].due_ns = 0

    def back(self, key: Key, now_ns: int) -> None:
        """The try came to nothing, through no fault of the row."""
        entry = self._rows[key]
        entry.due_ns = now_ns + _FIRST_NS
        heapq.heappush(self._due, (entry.due_ns, key))

    def done(self, key: Key) -> None:
        self._rows.pop(key, None)

    def breaks_connections(self, key: Key) -> bool:
        return self._rows[key].code == DISCONNECTS

    def closed_door(self) -> str:
        """The refusal that concerns all rows alike; empty when there is none."""
        return next((entry.code for entry in self._rows.values() if entry.code in PATIENT), "")

    def deadline_ns(self) -> int | None:
        self._drop_stale()
        return self._due[0][0] if self._due else None

    def _drop_stale(self) -> None:
        while self._due:
            due_ns, key = self._due[0]
            entry = self._rows.get(key)
            if entry is not None and entry.due_ns == due_ns:
                return
            heapq.heappop(self._due)
