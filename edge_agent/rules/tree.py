"""The typed tree: what an expression means. Built by checker.py; run by closures.py, judged by outcomes.py.

Every operation but && || ?: and has() is strict: unknown in, unknown out. So they are all one kind of node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edge_agent.rules.environment import Signal
from edge_agent.rules.values import Type, Value


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value
    type: Type


@dataclass(frozen=True, slots=True)
class Read:
    signal: Signal

    @property
    def type(self) -> Type:
        return self.signal.type


@dataclass(frozen=True, slots=True)
class Has:
    """Whether a signal is known: never unknown itself."""

    signal: Signal

    @property
    def type(self) -> Type:
        return Type.BOOL


@dataclass(frozen=True, slots=True)
class Apply:
    """`run(*args)` where all args are known; `run` itself may give UNKNOWN, and never raises."""

    name: str
    args: tuple[Node, ...]
    type: Type
    run: Callable[..., Any] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node

    @property
    def type(self) -> Type:
        return Type.BOOL


@dataclass(frozen=True, slots=True)
class Every:
    """&&: false if one is false, else unknown if one is unknown, else true."""

    operands: tuple[Node, ...]

    @property
    def type(self) -> Type:
        return Type.BOOL


@dataclass(frozen=True, slots=True)
class Some:
    """||: true if one is true, else unknown if one is unknown, else false."""

    operands: tuple[Node, ...]

    @property
    def type(self) -> Type:
        return Type.BOOL


@dataclass(frozen=True, slots=True)
class Choose:
    condition: Node
    then: Node
    otherwise: Node
    type: Type


Node: TypeAlias = Constant | Read | Has | Apply | Not | Every | Some | Choose


def children(node: Node) -> tuple[Node, ...]:
    """The operands of `node`, left to right."""
    match node:
        case Apply(args=args):
            return args
        case Every(operands) | Some(operands):
            return operands
        case Not(operand):
            return (operand,)
        case Choose(condition, then, otherwise):
            return (condition, then, otherwise)
        case _:
            return ()


def signals_read(node: Node) -> Iterator[Signal]:
    """Every signal that `node` reads, left to right, with repetitions."""
    if isinstance(node, (Read, Has)):
        yield node.signal
    for child in children(node):
        yield from signals_read(child)
