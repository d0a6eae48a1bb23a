"""Latency histograms cheap enough for every reading: fixed logarithmic buckets, no allocation."""

from __future__ import annotations

from collections.abc import Sequence

_PER_OCTAVE = 8
"""Buckets per doubling: a quantile is right within 9 %."""
_BUCKETS = 32 * _PER_OCTAVE


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` (0..1) of all values at or below it; 0.0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Histogram:
    """Counts of durations from 1 us to over an hour. One writer; readers may see a count one behind."""

    __slots__ = ("_counts", "count", "max_us", "sum_us")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.sum_us = 0
        self.max_us = 0

    def add_us(self, us: int, n: int = 1) -> None:
        """`n` durations of `us` microseconds; less than 1 counts as 1."""
        us = max(us, 1)
        octave = us.bit_length() - 1
        fraction = ((us << 3) >> octave) & 7
        self._counts[min(octave * _PER_OCTAVE + fraction, _BUCKETS - 1)] += n
        self.count += n
        self.sum_us += us * n
        self.max_us = max(self.max_us, us)

    def quantile_ms(self, share: float) -> float:
        """Upper edge of the bucket that holds the quantile, in milliseconds; 0.0 while empty."""
        if not self.count:
            return 0.0
        rank = share * self.count
        seen = 0
        for i, n in enumerate(self._counts):
            seen += n
            if n and seen >= rank:
                octave, fraction = divmod(i, _PER_OCTAVE)
                edge = ((1 << octave) * (8 + fraction + 1)) / 8
                return min(edge, self.max_us) / 1e3
        return self.max_us / 1e3

    def counts(self) -> list[int]:
        """A copy, for `of`: how a histogram crosses a socket or stands still while it is compared."""
        return list(self._counts)

    @classmethod
    def of(cls, counts: Sequence[int]) -> Histogram:
        """From `counts` of another, or from the difference of two; the sum and the maximum are not in it."""
        out = cls()
        out._counts = list(counts)
        out.count = sum(counts)
        out.max_us = 2**63
        return out

    def to_dict(self) -> dict[str, float]:
        return {
            "count": self.count,
            "mean_ms": round(self.sum_us / self.count / 1e3, 4) if self.count else 0.0,
            "p50_ms": round(self.quantile_ms(0.5), 4),
            "p99_ms": round(self.quantile_ms(0.99), 4),
            "max_ms": round(self.max_us / 1e3, 4),
        }
