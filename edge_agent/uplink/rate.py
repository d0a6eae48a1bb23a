"""A cap on how many rows a second leave the backlog."""

from __future__ import annotations


class Rate:
    """A bucket of at most one second's worth. `per_s` None: no cap. Starts with one row's worth."""

    def __init__(self, per_s: int | None) -> None:
        self._per_s = per_s
        self._tokens = 1.0
        self._filled_ns: int | None = None

    def allows(self, now_ns: int) -> bool:
        if self._per_s is None:
            return True
        if self._filled_ns is not None:
            grown = self._tokens + (now_ns - self._filled_ns) * self._per_s / 1e9
            self._tokens = min(grown, float(self._per_s))
        self._filled_ns = now_ns
        return self._tokens >= 1.0

    def spend(self) -> None:
        self._tokens -= 1.0

    def next_ns(self, now_ns: int) -> int | None:
        """When the next row may go; None where it may go now."""
        if self._per_s is None or self._tokens >= 1.0:
            return None
        return now_ns + int((1.0 - self._tokens) * 1e9 / self._per_s) + 1
