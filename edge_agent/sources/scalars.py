"""What a device may put into a reading: bounds on names, numbers and texts, in one place for all text formats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from edge_agent.errors import Rejected
from edge_agent.types import Quality, Value

MAX_TEXT = 256
MAX_NAMES = 256
_INT64 = 1 << 63
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def is_name(text: str) -> bool:
    """Whether rules could name a field or a stream so."""
    return _NAME.fullmatch(text) is not None


class Names:
    """The names a device has used so far; noise cannot make them grow without bound."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def check(self, names: Iterable[str]) -> None:
        """Raises Rejected `field_name`, or `too_many_fields` for more than `MAX_NAMES` in all."""
        if self._known.issuperset(names):
            return
        new = set(names) - self._known
        if not all(map(is_name, new)):
            raise Rejected("field_name")
        if len(self._known) + len(new) > MAX_NAMES:
            raise Rejected("too_many_fields")
        self._known |= new


def settle(values: dict[str, Any]) -> dict[str, Quality] | None:
    """Makes decoded values fit for a reading, in place; returns the quality of those that are not GOOD.

    Not finite: None and BAD. -0.0: 0.0. Control characters in a text: escaped. Raises Rejected `int_range` beyond
    64 bits, `text_length` beyond `MAX_TEXT` characters, `value_type` for what is no scalar.
    """
    quality: dict[str, Quality] | None = None
    for name, value in values.items():
        kind = type(value)
        if kind is float:
            if value - value != 0.0:
                values[name] = None
                quality = quality or {}
                quality[name] = Quality.BAD
            elif value == 0.0:
                values[name] = 0.0
        elif kind is int:
            if not -_INT64 <= value < _INT64:
                raise Rejected("int_range")
        elif kind is str:
            if not value.isprintable() or len(value) > MAX_TEXT:
                values[name] = _text(value)
        elif value is not None and kind is not bool:
            raise Rejected("value_type")
    return quality


def _text(value: str) -> str:
    if len(value) > MAX_TEXT:
        raise Rejected("text_length")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value)


def scalar(text: str, kind: str) -> Value:
    """A cell of text as `kind`: `double`, `int`, `bool` or `string`. Raises ValueError for anything else.

    Stricter than Python: no underscores, no digits but 0-9. `nan`, `inf` and `ovf` (as Arduino prints an
    overflow) are doubles that are not finite.
    """
    if kind == "string":
        return text
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    if kind == "int":
        return int(text)
    if kind == "bool":
        return _bool(text.strip().lower())
    return float("nan" if text.strip() == "ovf" else text)


def _bool(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ValueError(text)
    return text in ("1", "true")
