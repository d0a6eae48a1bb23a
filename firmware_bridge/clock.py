"""Device clock to host clock by round trips (PROTOCOL.md section 9). Intervals that hold the truth, never a guess."""

from __future__ import annotations


class ClockMap:
    """Holds host_ns - device_ns within [low, high], true unless a clock jumps or drifts faster than `drift_ppm`.

    The method is interval intersection (Marzullo and Owicki, 1983).
    """

    def __init__(self, drift_ppm: int = 200) -> None:
        self._drift_ppm = drift_ppm
        self._low = 0
        self._high = 0
        self._at_ns: int | None = None
        self.round_trip_ns: int | None = None

    @property
    def synced(self) -> bool:
        """Whether any round trip has completed."""
        return self._at_ns is not None

    def reset(self) -> None:
        """Forgets everything: the device booted."""
        self._at_ns = None

    def update(self, sent_ns: int, device_us: int, received_ns: int) -> int:
        """Takes one round trip; returns by how many ns it contradicts the earlier ones, 0 when it does not."""
        # The device read its clock at some time of the trip, cut to whole microseconds, and has drifted since.
        drifted = self._drift(received_ns - sent_ns)
        low = sent_ns - device_us * 1000 - 1000 - drifted
        high = received_ns - device_us * 1000 + drifted
        self.round_trip_ns = received_ns - sent_ns
        apart = 0
        if self._at_ns is not None:
            held_low, held_high = self._bounds(received_ns)
            apart = max(low - held_high, held_low - high, 0)
            if not apart:
                low, high = max(low, held_low), min(high, held_high)
        self._low, self._high, self._at_ns = low, high, received_ns
        return apart

    def _drift(self, span_ns: int) -> int:
        return abs(span_ns) * self._drift_ppm // 1_000_000 + 1

    def _bounds(self, now_ns: int) -> tuple[int, int]:
        widen = self._drift(now_ns - (self._at_ns or 0))
        return self._low - widen, self._high + widen

    def offset(self, now_ns: int) -> tuple[int, int]:
        """(offset_ns, error_ns): host = device + offset, wrong by at most error. Only when synced."""
        low, high = self._bounds(now_ns)
        return (low + high) // 2, -(-(high - low) // 2)

    def deadline_us(self, host_ns: int, now_ns: int) -> int:
        """A device time that is certainly not after `host_ns`. Only when synced."""
        _, high = self._bounds(max(now_ns, host_ns))
        return max(0, (host_ns - high) // 1000)
