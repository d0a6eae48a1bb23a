"""The fixed list of functions: for each name, what it takes and gives. Window functions are in windows.py."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge_agent.rules import arithmetic as ar
from edge_agent.rules.arithmetic import Run
from edge_agent.rules.values import UNKNOWN, Type

_B, _I, _U, _D, _S = Type.BOOL, Type.INT, Type.UINT, Type.DOUBLE, Type.STRING
_L = Type.EMPTY_LIST


@dataclass(frozen=True, slots=True)
class Overload:
    """One signature. A parameter of Type.EMPTY_LIST takes any list."""

    params: tuple[Type, ...]
    gives: Type
    run: Run

    def takes(self, args: Sequence[Type]) -> bool:
        return len(args) == len(self.params) and all(map(_fits, self.params, args))


def _fits(param: Type, arg: Type) -> bool:
    return param == arg or (param == Type.EMPTY_LIST and arg.is_list)


def _same(value: object) -> object:
    return value


def _root(number: float) -> float | object:
    return math.sqrt(number) if number >= 0 else UNKNOWN


def _numeric(run: Run) -> tuple[Overload, ...]:
    return tuple(Overload((of,), of, run) for of in (_I, _U, _D))


def _bitwise(run: Run) -> tuple[Overload, ...]:
    return (Overload((_I, _I), _I, run), Overload((_U, _U), _U, run))


_ABS: Final = (Overload((_I,), _I, lambda a: ar.in_int(abs(a))), *_numeric(abs)[1:])
_TEXT_METHODS: Final = ("contains", "startsWith", "endsWith")

FUNCTIONS: Final[dict[str, tuple[Overload, ...]]] = {
    "size": (Overload((_S,), _I, len), Overload((_L,), _I, len)),
    "int": (
        Overload((_I,), _I, _same), Overload((_U,), _I, ar.in_int),
        Overload((_D,), _I, ar.int_of_double), Overload((_S,), _I, ar.int_of_string),
    ),
    "uint": (
        Overload((_U,), _U, _same), Overload((_I,), _U, ar.in_uint),
        Overload((_D,), _U, ar.uint_of_double), Overload((_S,), _U, ar.uint_of_string),
    ),
    "double": (
        Overload((_D,), _D, _same), Overload((_I,), _D, float), Overload((_U,), _D, float),
        Overload((_S,), _D, ar.double_of_string),
    ),
    "string": (
        Overload((_S,), _S, _same), Overload((_I,), _S, str), Overload((_U,), _S, str),
        Overload((_D,), _S, ar.string_of_double), Overload((_B,), _S, ar.string_of_bool),
    ),
    "bool": (Overload((_B,), _B, _same), Overload((_S,), _B, ar.bool_of_string)),
    "abs": _ABS,
    "math.abs": _ABS,
    "math.sign": _numeric(ar.sign_of),
    "math.ceil": (Overload((_D,), _D, lambda a: float(math.ceil(a))),),
    "math.floor": (Overload((_D,), _D, lambda a: float(math.floor(a))),),
    "math.trunc": (Overload((_D,), _D, lambda a: float(math.trunc(a))),),
    "math.round": (Overload((_D,), _D, ar.round_double),),
    "math.sqrt": tuple(Overload((of,), _D, _root) for of in (_I, _U, _D)),
    "math.bitAnd": _bitwise(operator.and_),
    "math.bitOr": _bitwise(operator.or_),
    "math.bitXor": _bitwise(operator.xor),
    "math.bitNot": (Overload((_I,), _I, lambda a: ~a), Overload((_U,), _U, lambda a: ar.wrap_uint(~a))),
    "math.bitShiftLeft": (
        Overload((_I, _I), _I, ar.shift_left(ar.wrap_int)), Overload((_U, _I), _U, ar.shift_left(ar.wrap_uint)),
    ),
    "math.bitShiftRight": (
        Overload((_I, _I), _I, ar.shift_right(ar.wrap_int)), Overload((_U, _I), _U, ar.shift_right(ar.wrap_uint)),
    ),
}  # fmt: skip

METHODS: Final[dict[str, tuple[Overload, ...]]] = {
    "size": FUNCTIONS["size"],
    "contains": (Overload((_S, _S), _B, operator.contains),),
    "startsWith": (Overload((_S, _S), _B, str.startswith),),
    "endsWith": (Overload((_S, _S), _B, str.endswith),),
}
"""By the name after the dot; the value before it is the first argument."""

EXTREMES: Final[dict[str, Run]] = {
    "min": min, "math.least": min,
    "max": max, "math.greatest": max,
}  # fmt: skip
"""Of one or more numbers, or of one list of numbers: checked in checker.py, since mixed numbers become doubles."""

REFUSED: Final = {
    "matches": "there are no regular expressions; use contains, startsWith or endsWith",
    "exists": "there are no loops; write x in [...]",
    "exists_one": "there are no loops",
    "all": "there are no loops",
    "map": "there are no loops",
    "filter": "there are no loops",
    "type": "every type is known when the rule is loaded",
    "age": 'write absent(signal, "30s")',
    "duration": 'a window is a plain string, such as mean(signal, "30s")',
    "timestamp": "rules have no clock; use for, or absent(signal, \"30s\")",
    "math.isNaN": "NaN and inf are unknown here; use has(signal)",
    "math.isInf": "NaN and inf are unknown here; use has(signal)",
    "math.isFinite": "NaN and inf are unknown here; use has(signal)",
}  # fmt: skip
"""Functions of CEL that are left out on purpose, and what to write instead."""
