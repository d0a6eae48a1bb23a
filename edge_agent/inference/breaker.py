"""When a failing worker is tried again, and when it is left alone for a while. Pure: time comes in.

Closed: after a failure the next try waits 0.1 s, doubling to 30 s until a success. Open: after `failures` of them
within `window_s`, or in a row without any success, or one that no other try can help. When the cool-down has passed
the next try decides: a success closes it, a failure opens it for twice as long.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

_FIRST_NS = 100_000_000
_MOST_NS = 30_000_000_000
_COOLDOWN_MOST = 20
"""Times the first cool-down."""


class Breaker:
    """`state` is `closed`, `open` or `half_open`; `retry_ns` is the earliest instant of the next try."""

    def __init__(self, *, failures: int = 5, window_s: float = 60.0, cooldown_s: float = 30.0) -> None:
        self.state: Literal["closed", "open", "half_open"] = "closed"
        self.retry_ns = 0
        self._window_ns = round(window_s * 1e9)
        self._first_cooldown_ns = round(cooldown_s * 1e9)
        self._cooldown_ns = self._first_cooldown_ns
        self._limit = failures
        self._failed: deque[int] = deque(maxlen=failures)
        self._in_a_row = 0

    def ready(self, now_ns: int) -> bool:
        """Whether a try may be made; in an open breaker this is the one that decides."""
        if now_ns < self.retry_ns:
            return False
        if self.state == "open":
            self.state = "half_open"
        return True

    def failed(self, now_ns: int, *, hopeless: bool = False) -> bool:
        """Notes a failure; True when it opened the breaker (again)."""
        self._failed.append(now_ns)
        self._in_a_row += 1
        recent = len(self._failed) == self._limit and now_ns - self._failed[0] <= self._window_ns
        if hopeless or recent or self._in_a_row >= self._limit or self.state == "half_open":
            self._open(now_ns)
            return True
        self.retry_ns = now_ns + min(_FIRST_NS << (self._in_a_row - 1), _MOST_NS)
        return False

    def open_for(self, now_ns: int, wait_ns: int) -> None:
        """Without a failure: no try for so long."""
        self.state = "open"
        self.retry_ns = now_ns + wait_ns

    def succeeded(self) -> bool:
        """Notes a success; True when it closed the breaker."""
        self._in_a_row = 0
        if self.state == "closed":
            return False
        self.state = "closed"
        self._failed.clear()
        self._cooldown_ns = self._first_cooldown_ns
        return True

    def _open(self, now_ns: int) -> None:
        if self.state == "half_open":
            self._cooldown_ns = min(self._cooldown_ns * 2, self._first_cooldown_ns * _COOLDOWN_MOST)
        self.state = "open"
        self.retry_ns = now_ns + self._cooldown_ns
