"""What a device's own sample numbers tell: lines that never came, and restarts. Pure."""

from __future__ import annotations

_LAST_BEFORE_WRAP = frozenset({(1 << 8) - 1, (1 << 16) - 1, (1 << 31) - 1, (1 << 32) - 1})


class DeviceSeq:
    """Follows one counter. A wrap to 0 at 8, 16, 31 or 32 bits is no event; any other step back is a restart."""

    def __init__(self) -> None:
        self._last: int | None = None

    def follow(self, seq: int) -> tuple[int, bool]:
        """How many lines are missing before this one, and whether the device started anew."""
        last, self._last = self._last, seq
        if last is None or seq == last + 1 or (seq == 0 and last in _LAST_BEFORE_WRAP):
            return 0, False
        return (seq - last - 1, False) if seq > last else (0, True)
