"""The values of literals: strings with CEL's escapes, whole numbers, doubles."""

import math
import re
from typing import Final

from edge_agent.rules.errors import Fault

_SIMPLE: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<simple>.))",
    re.DOTALL,
)


def string_value(source: str, at: int) -> str:
    """The string that a whole string literal, prefix and quotes included, stands for. Raises Fault."""
    prefix = source[: len(source) - len(source.lstrip("rRbB"))].lower()
    if "b" in prefix:
        raise Fault("there are no bytes here", at, "drop the b before the quote")
    quoted = source[len(prefix) :]
    quotes = 3 if quoted[:3] in ('"""', "'''") and len(quoted) >= 6 else 1
    body = quoted[quotes:-quotes]
    if prefix == "r":
        return body
    body_at = at + len(prefix) + quotes
    return _ESCAPE.sub(lambda match: _escaped(match, body_at), body)


def whole_value(source: str) -> int:
    """The number a literal such as 12, 0x1F or 7u stands for, without regard to its range."""
    digits = source.rstrip("uU")
    return int(digits, 16) if digits[:2] in ("0x", "0X") else _decimal(digits)


def double_value(source: str, at: int) -> float:
    """The double nearest to a literal. Raises Fault where that is infinite."""
    number = float(source)
    if math.isinf(number):
        raise Fault("this number is too large for a double", at)
    return number


def _decimal(digits: str) -> int:
    # int() refuses texts of thousands of digits; 25 digits are out of every range here already
    return int(digits) if len(digits) <= 25 else 10**25


def _escaped(match: re.Match[str], body_at: int) -> str:
    code = match["x"] or match["u"] or match["U"]
    if code is not None:
        return _character(int(code, 16), body_at + match.start())
    if match["octal"] is not None:
        return chr(int(match["octal"], 8))
    character = _SIMPLE.get(match["simple"])
    if character is None:
        raise Fault("this is no escape sequence", body_at + match.start(), r"write \\ for a backslash, or r'...'")
    return character


def _character(code: int, at: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise Fault("this escape is no Unicode character", at)
    return chr(code)
