"""Arithmetic and conversions on known values: UNKNOWN where CEL gives an error, inf or NaN; none raises."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from edge_agent.rules.values import INT_MAX, INT_MIN, MAX_LIST_ITEMS, MAX_STRING_CHARS, UINT_MAX, UNKNOWN, Value

Run: TypeAlias = Callable[..., Any]

_DOUBLE_MAX: Final = 1.7976931348623157e308
_INT_TEXT = re.compile(r"[+-]?[0-9]{1,20}")
_UINT_TEXT = re.compile(r"[0-9]{1,20}")
_DOUBLE_TEXT = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,5})?")
_TRUE_TEXTS = frozenset(("1", "t", "T", "true", "True", "TRUE"))
_FALSE_TEXTS = frozenset(("0", "f", "F", "false", "False", "FALSE"))


def in_int(number: int) -> Value:
    return number if INT_MIN <= number <= INT_MAX else UNKNOWN


def in_uint(number: int) -> Value:
    return number if 0 <= number <= UINT_MAX else UNKNOWN


def finite(number: float) -> Value:
    # false for NaN as well, and without a call
    return number if -_DOUBLE_MAX <= number <= _DOUBLE_MAX else UNKNOWN


def _quotient(a: int, b: int) -> int:
    """Towards zero, as CEL and C divide; Python's // rounds down."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _divide_int(a: int, b: int) -> Value:
    return UNKNOWN if b == 0 else in_int(_quotient(a, b))


def _remainder_int(a: int, b: int) -> Value:
    """With the sign of `a`. INT_MIN % -1 overflows, as its quotient does."""
    if b == 0 or (b == -1 and a == INT_MIN):
        return UNKNOWN
    remainder = abs(a) % abs(b)
    return remainder if a >= 0 else -remainder


def _divide_double(a: float, b: float) -> Value:
    return UNKNOWN if b == 0.0 else finite(a / b)


def _join_strings(a: str, b: str) -> Value:
    return a + b if len(a) + len(b) <= MAX_STRING_CHARS else UNKNOWN


def _join_lists(a: tuple[Any, ...], b: tuple[Any, ...]) -> Value:
    return a + b if len(a) + len(b) <= MAX_LIST_ITEMS else UNKNOWN


ARITHMETIC: Final[dict[tuple[str, str], Run]] = {
    ("+", "int"): lambda a, b: in_int(a + b),
    ("-", "int"): lambda a, b: in_int(a - b),
    ("*", "int"): lambda a, b: in_int(a * b),
    ("/", "int"): _divide_int,
    ("%", "int"): _remainder_int,
    ("+", "uint"): lambda a, b: in_uint(a + b),
    ("-", "uint"): lambda a, b: in_uint(a - b),
    ("*", "uint"): lambda a, b: in_uint(a * b),
    ("/", "uint"): lambda a, b: a // b if b else UNKNOWN,
    ("%", "uint"): lambda a, b: a % b if b else UNKNOWN,
    ("+", "double"): lambda a, b: finite(a + b),
    ("-", "double"): lambda a, b: finite(a - b),
    ("*", "double"): lambda a, b: finite(a * b),
    ("/", "double"): _divide_double,
    ("+", "string"): _join_strings,
    ("+", "list"): _join_lists,
}
"""By operator and kind of both operands."""

NEGATE: Final[dict[str, Run]] = {"int": lambda a: in_int(-a), "double": operator.neg}

COMPARE: Final[dict[str, Run]] = {
    "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def item_at(items: Sequence[Any], index: int) -> Any:
    return items[index] if 0 <= index < len(items) else UNKNOWN


def is_in(item: Any, items: Sequence[Any]) -> bool:
    return item in items


def tuple_of(*items: Any) -> tuple[Any, ...]:
    return items


def as_double(value: Any) -> Any:
    """A whole number as the nearest double; a list item by item."""
    return tuple(as_double(item) for item in value) if isinstance(value, tuple) else float(value)


def int_of_double(number: float) -> Value:
    """Towards zero. The bounds are open, as in CEL: -2^63 itself is refused because neighbours round to it."""
    return int(number) if -(2.0**63) < number < 2.0**63 else UNKNOWN


def uint_of_double(number: float) -> Value:
    return int(number) if -1.0 < number < 2.0**64 else UNKNOWN


def int_of_string(text: str) -> Value:
    return in_int(int(text)) if _INT_TEXT.fullmatch(text) else UNKNOWN


def uint_of_string(text: str) -> Value:
    return in_uint(int(text)) if _UINT_TEXT.fullmatch(text) else UNKNOWN


def double_of_string(text: str) -> Value:
    return finite(float(text)) if _DOUBLE_TEXT.fullmatch(text) else UNKNOWN


def bool_of_string(text: str) -> Value:
    if text in _TRUE_TEXTS:
        return True
    return False if text in _FALSE_TEXTS else UNKNOWN


def string_of_double(number: float) -> str:
    """The shortest digits that read back as `number`; a whole one without a point."""
    return repr(number).removesuffix(".0")


def string_of_bool(truth: bool) -> str:
    return "true" if truth else "false"


def round_double(number: float) -> float:
    """Halves away from zero."""
    whole = float(math.trunc(number))
    return whole + math.copysign(1.0, number) if abs(number - whole) >= 0.5 else whole


def sign_of(number: float) -> float:
    """-1, 0 or 1 in the type of `number`."""
    return type(number)((number > 0) - (number < 0))


def shift_left(wrap: Run) -> Run:
    return lambda a, n: UNKNOWN if n < 0 else (wrap(a << n) if n < 64 else 0)


def shift_right(wrap: Run) -> Run:
    """Zeroes come in from the left, also into an int."""
    return lambda a, n: UNKNOWN if n < 0 else (wrap((a & UINT_MAX) >> n) if n < 64 else 0)


def wrap_int(number: int) -> int:
    """The 64 low bits as a signed number."""
    low = number & UINT_MAX
    return low - 2**64 if low > INT_MAX else low


def wrap_uint(number: int) -> int:
    return number & UINT_MAX
