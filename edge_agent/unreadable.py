"""What decoding raises for bytes that nobody vouches for. Apart from `errors`: the help of a command has no codec."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""One flipped bit is enough for each of them."""
