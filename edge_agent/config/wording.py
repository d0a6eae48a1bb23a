"""Types and values in the words of a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec.inspect as mi

from edge_agent.config.problems import bare, shown
from edge_agent.config.redact import redact

_TOKEN = re.compile(r"[A-Za-z0-9_.:+-]{1,24}")

SHAPES: Final[Mapping[type, tuple[type, ...]]] = {
    bool: (mi.BoolType,),
    int: (mi.IntType, mi.FloatType),
    float: (mi.FloatType,),
    str: (mi.StrType, mi.LiteralType),
    list: (mi.VarTupleType, mi.ListType),
    dict: (mi.StructType, mi.DictType),
}
"""For each type of TOML the configuration types that such a value may be meant for; dates are meant for none."""


def takes(of: mi.Type, kind: type) -> bool:
    """Whether `of` may be meant by a value of this TOML type, right or wrong; of a union any member."""
    if isinstance(of, mi.UnionType):
        return any(takes(member, kind) for member in of.types)
    return isinstance(of.type if isinstance(of, mi.Metadata) else of, SHAPES.get(kind, ()))


def expected(of: mi.Type) -> str:
    """`a whole number from 1 to 65535`, `one of "5", "3.1.1"`, `a text`."""
    words = _EXPECTED.get(type(of))
    return words(of) if words else "a table"


def found(value: object) -> str:
    """What stands there instead: bounded, safe on a terminal, without passwords."""
    if isinstance(value, str):
        return shown(redact(value), 40)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a very long number"
    if isinstance(value, float):
        return repr(value)
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def advice(value: object, of: mi.Type, key: str | int, raw: str) -> str:
    """What to type where `value`, written as `raw` at `key`, is not of type `of`; empty where nobody can tell."""
    if isinstance(value, dict) and takes(of, list):
        return f"write [[{bare(str(key))}]], with two brackets, for one element of the list"
    if isinstance(value, list) and takes(of, dict):
        return f"write [{bare(str(key))}], with one bracket: there is only one"
    if not isinstance(value, str | list | dict) and takes(of, str) and _TOKEN.fullmatch(raw):
        return f'put it in quotes: "{raw}"' if isinstance(key, int) else f'put it in quotes: {bare(key)} = "{raw}"'
    if isinstance(value, str) and not takes(of, str) and _TOKEN.fullmatch(value.strip()):
        return "write it without quotes"
    return ""


def _described(of: mi.Metadata) -> str:
    description = (of.extra_json_schema or {}).get("description")
    return f"{expected(of.type)}: {description}" if description else expected(of.type)


def _any_of(of: mi.UnionType) -> str:
    return " or ".join(dict.fromkeys(expected(member) for member in of.types if not isinstance(member, mi.NoneType)))


def _one_of(of: mi.LiteralType) -> str:
    return "one of " + ", ".join(shown(str(value)) for value in of.values)


def _range(of: mi.IntType | mi.FloatType) -> str:
    if of.ge is not None and of.le is not None:
        return f" from {of.ge} to {of.le}"
    bounds = (("at least", of.ge), ("above", of.gt), ("at most", of.le), ("below", of.lt))
    parts = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return " " + " and ".join(parts) if parts else ""


def _length(of: mi.StrType | mi.VarTupleType | mi.ListType, unit: str) -> str:
    low, high = of.min_length, of.max_length
    if low is not None and high is not None:
        return f" of {low} {unit}" if low == high else f" of {low} to {high} {unit}"
    if high is not None:
        return f" of at most {high} {unit}"
    return "" if low is None else f" of at least {low} {unit}"


_EXPECTED: Final[Mapping[type, Callable[[Any], str]]] = {
    mi.Metadata: _described,
    mi.UnionType: _any_of,
    mi.LiteralType: _one_of,
    mi.StrType: lambda of: "a text" + _length(of, "characters"),
    mi.VarTupleType: lambda of: "a list" + _length(of, "elements"),
    mi.ListType: lambda of: "a list" + _length(of, "elements"),
    mi.BoolType: lambda _: "true or false",
    mi.IntType: lambda of: "a whole number" + _range(of),
    mi.FloatType: lambda of: "a number" + _range(of),
}
