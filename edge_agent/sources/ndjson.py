"""One JSON object a line, from any firmware: what `printf("%f")` makes of infinity is understood as well. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from edge_agent.errors import Rejected

_decode = msgspec.json.Decoder(dict[str, Any]).decode
# a whole string, closed or not, so that no word inside one is taken for a number; possessive, so linear in time
_STRING_OR_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*+"?|-?\b(?:nan|inf(?:inity)?|ovf)\b', re.IGNORECASE)


def decode_object(line: bytes) -> dict[str, Any]:
    """The object in a line; numbers that are not finite come as NaN or infinity. Raises Rejected `json`."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_not_finite(line)


def _decode_not_finite(line: bytes) -> dict[str, Any]:
    """The slow way, for `nan`, `-inf`, `ovf` (Arduino) and `1e999`, which JSON does not have."""
    try:
        text = _STRING_OR_NOT_FINITE.sub(_as_nan, line.decode("utf-8"))
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("json", item=line) from None
    if not isinstance(value, dict):
        raise Rejected("json", item=line)
    return value


def _as_nan(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith('"') else "NaN"
