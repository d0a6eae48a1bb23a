"""How long to wait before the next connection: full jitter under a ceiling that doubles, so that a fleet spreads."""

from __future__ import annotations

import random

LEAST_S = 1.0
MOST_S = 120.0
STABLE_S = 60.0
BUSY_S = 60.0


class Backoff:
    """Waits of 1 s to `most_s`; the ceiling starts at 2 s, doubles with every failure, and starts over only after a
    connection that held for 60 s: a broker that accepts and drops is not hit every second."""

    def __init__(self, rng: random.Random, most_s: float = MOST_S) -> None:
        self._rng = rng
        self._most_s = most_s
        self._failures = 0
        self._up_since_s: float | None = None

    def connected(self, now_s: float) -> None:
        self._up_since_s = now_s

    def failed(self, now_s: float, *, busy: bool = False) -> float:
        """The connection or the attempt ended now: seconds to wait. `busy`: the peer asked for patience, or will
        not change its mind within seconds (refused credentials)."""
        if self._up_since_s is not None and now_s - self._up_since_s >= STABLE_S:
            self._failures = 0
        self._up_since_s = None
        self._failures += 1
        ceiling_s = min(self._most_s, 2.0 ** min(self._failures, 10))
        if busy:
            return self._rng.uniform(BUSY_S, max(ceiling_s, BUSY_S * 1.5))
        return self._rng.uniform(LEAST_S, ceiling_s)
