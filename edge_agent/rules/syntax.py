"""The syntax tree: what was written, before names and types mean anything. Built by parser.py.

`at` is the offset of the part that an error should point to. `depth` counts the levels below and itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from edge_agent.rules.values import Known, Type


@dataclass(frozen=True, slots=True)
class Literal:
    value: Known
    type: Type
    at: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name, one flat signal: there is no access to attributes."""

    name: str
    at: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Syntax, ...]
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Call:
    """`name(args)`, or `receiver.name(args)` with the receiver as the first argument."""

    name: str
    args: tuple[Syntax, ...]
    is_method: bool
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Operation:
    """A strict operator on one or two operands: ! - + * / % == != < <= > >= in []."""

    op: str
    operands: tuple[Syntax, ...]
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Two or more operands joined by && or by ||."""

    op: str
    operands: tuple[Syntax, ...]
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Choice:
    condition: Syntax
    then: Syntax
    otherwise: Syntax
    at: int
    depth: int


Syntax: TypeAlias = Literal | Name | ListOf | Call | Operation | Chain | Choice
