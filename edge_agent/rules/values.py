"""The values of the rule language: its types, the sentinel UNKNOWN, and what may enter a slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NoReturn, TypeAlias, Union, final

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
MAX_STRING_CHARS: Final = 4_096
MAX_LIST_ITEMS: Final = 1_024


@final
class Unknown:
    """The third truth value, and the value of whatever could not be read or computed. One instance."""

    __slots__ = ()
    _instance: ClassVar[Unknown | None] = None

    def __new__(cls) -> Unknown:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __bool__(self) -> NoReturn:
        raise TypeError("unknown is neither true nor false; compare with `is UNKNOWN`")

    def __repr__(self) -> str:
        return "unknown"

    def __reduce__(self) -> tuple[type[Unknown], tuple[()]]:
        return (Unknown, ())


UNKNOWN: Final = Unknown()

Known: TypeAlias = Union[bool, int, float, str, "tuple[Known, ...]"]
Value: TypeAlias = Known | Unknown


@dataclass(frozen=True, slots=True)
class Type:
    """A static type: `Type.BOOL` and its siblings, or `Type.list_of(element)`.

    `element` is None for a scalar, and for the empty list, which fits every list.
    """

    kind: Literal["bool", "int", "uint", "double", "string", "list"]
    element: Type | None = None

    BOOL: ClassVar[Type]
    INT: ClassVar[Type]
    UINT: ClassVar[Type]
    DOUBLE: ClassVar[Type]
    STRING: ClassVar[Type]
    EMPTY_LIST: ClassVar[Type]

    @staticmethod
    def list_of(element: Type) -> Type:
        return Type("list", element)

    @property
    def is_number(self) -> bool:
        return self.kind in ("int", "uint", "double")

    @property
    def is_list(self) -> bool:
        return self.kind == "list"

    def __str__(self) -> str:
        return self.kind if self.element is None else f"list of {self.element}"


Type.BOOL = Type("bool")
Type.INT = Type("int")
Type.UINT = Type("uint")
Type.DOUBLE = Type("double")
Type.STRING = Type("string")
Type.EMPTY_LIST = Type("list")


def admit(value: object, as_type: Type) -> Value:
    """`value` as a slot of `as_type` may hold it, else UNKNOWN: also for NaN, inf, and what is out of range.

    Whole numbers are admitted as doubles, and lists become tuples. A bool is never a number.
    """
    match as_type.kind:
        case "bool":
            return value if isinstance(value, bool) else UNKNOWN
        case "double":
            return _admit_double(value)
        case "int":
            return _admit_whole(value, INT_MIN, INT_MAX)
        case "uint":
            return _admit_whole(value, 0, UINT_MAX)
        case "string":
            return value if isinstance(value, str) and len(value) <= MAX_STRING_CHARS else UNKNOWN
        case "list":
            return _admit_list(value, as_type)


def _admit_double(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return UNKNOWN
    try:
        number = float(value)
    except OverflowError:
        return UNKNOWN
    return number if math.isfinite(number) else UNKNOWN


def _admit_whole(value: object, least: int, most: int) -> Value:
    if isinstance(value, bool) or not isinstance(value, int):
        return UNKNOWN
    return value if least <= value <= most else UNKNOWN


def _admit_list(value: object, as_type: Type) -> Value:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_LIST_ITEMS:
        return UNKNOWN
    if as_type.element is None:
        return UNKNOWN if value else ()
    items: list[Known] = []
    for item in value:
        admitted = admit(item, as_type.element)
        if isinstance(admitted, Unknown):
            return UNKNOWN
        items.append(admitted)
    return tuple(items)
