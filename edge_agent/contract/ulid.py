"""Opaque ids that sort by the time they were made, as far as the clock was right: ULIDs."""

from __future__ import annotations

from collections.abc import Callable

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_ulid(wall_ns: int, entropy: Callable[[int], bytes]) -> str:
    """26 characters: 48 bits of UTC milliseconds, then 80 bits from `entropy(10)`."""
    milliseconds = max(wall_ns // 1_000_000, 0) & (1 << 48) - 1
    number = milliseconds << 80 | int.from_bytes(entropy(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
