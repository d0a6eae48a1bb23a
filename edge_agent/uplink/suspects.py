"""Finds the row that makes the broker hang up: the one that is alone in flight, again, when a working connection
breaks. Rows that were in flight at several breaks are tried one by one until they are through."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

Key = tuple[int, int]

_BREAKS = 3


class Suspects:
    """`line`: rows to be sent alone, one after the other."""

    def __init__(self) -> None:
        self.line: deque[Key] = deque()
        self._breaks: dict[Key, int] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self.line

    def broke(self, in_flight: Collection[Key], *, worked: bool) -> Key | None:
        """The connection broke with these rows unconfirmed. `worked`: others were confirmed on it before.
        Returns the culprit where that is proved."""
        known = self._breaks
        self._breaks = {key: n for key, n in known.items() if key in self.line}
        self._breaks |= {key: known.get(key, 0) + 1 for key in in_flight}
        if len(in_flight) == 1 and worked:
            (key,) = in_flight
            if self._breaks[key] > 1:
                self.clear(key)
                return key
        self.line.rotate(-1)
        self.line.extend(k for k in in_flight if self._breaks[k] >= _BREAKS and k not in self.line)
        return None

    def clear(self, key: Key) -> None:
        """It got an answer, or is gone."""
        self._breaks.pop(key, None)
        if key in self.line:
            self.line.remove(key)
