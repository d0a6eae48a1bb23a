"""Connections that worked and broke: how many lately, so that a flapping broker or a takeover loop has a name."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 600.0
_MANY = 3


class Breaks:
    """The breaks of the last ten minutes."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque(maxlen=1000)

    def add(self, now_s: float) -> None:
        self._at_s.append(now_s)

    def words(self, now_s: float) -> str:
        """Empty unless it broke at least three times."""
        while self._at_s and now_s - self._at_s[0] > _WINDOW_S:
            self._at_s.popleft()
        return f"{len(self._at_s)} times in 10 min" if len(self._at_s) >= _MANY else ""
