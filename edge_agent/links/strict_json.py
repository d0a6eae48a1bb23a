"""JSON as it comes from outside: one meaning or none. Standard decoders take the last of two equal keys, and turn
what they cannot hold into something else."""

from __future__ import annotations

import json
import math
from typing import Any

from edge_agent.errors import Rejected

_MOST_DIGITS = 20
"""Of a number that can fit into 64 bits, with its sign."""


def loads(body: bytes, *, non_finite: bool = False) -> Any:
    """The value of a JSON text in UTF-8. Integers are exact within 64 bits, -0 is 0.

    Raises Rejected (`malformed …`) for bad UTF-8 or JSON, a key given twice, an integer beyond 64 bits, a lone
    surrogate, nesting beyond the interpreter's limit; and for NaN and numbers beyond a double unless `non_finite`
    allows them (as float nan and inf).
    """
    try:
        text = body.decode("utf-8")
        value = (_LENIENT if non_finite else _STRICT).decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as e:
        raise Rejected(f"malformed: not UTF-8 at byte {e.start}", item=body) from e
    except UnicodeEncodeError as e:
        raise Rejected("malformed: a lone surrogate", item=body) from e
    except json.JSONDecodeError as e:
        raise Rejected(f"malformed: {e.msg} at character {e.pos}", item=body) from e
    except RecursionError as e:
        raise Rejected("malformed: nested too deeply", item=body) from e
    except ValueError as e:
        raise Rejected(f"malformed: {e}", item=body) from e
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in out if keys.count(key) > 1)
        raise ValueError(f"key {ascii(twice)[:40]} is given twice")
    return out


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or not -(2**63) <= (value := int(digits)) < 2**63:
        raise ValueError("an integer beyond 64 bits")
    return value


def _float(text: str) -> float:
    value = _any_float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond a double")
    return value


def _any_float(text: str) -> float:
    return float(text) + 0.0  # -0.0 + 0.0 is 0.0


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_LENIENT = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_any_float)
