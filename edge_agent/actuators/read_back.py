"""Whether a device did what it was told."""

from __future__ import annotations

import math

from edge_agent.types import Value


def same(read: object, wanted: Value) -> bool:
    """Numbers are compared as float32, in which devices compute; on and off may be 1 and 0."""
    if isinstance(read, (int, float)) and isinstance(wanted, (int, float)):
        try:
            return math.isclose(read, wanted, rel_tol=1e-6, abs_tol=1e-9)
        except OverflowError:  # a whole number of hundreds of digits: not what anybody commanded
            return False
    return read == wanted
