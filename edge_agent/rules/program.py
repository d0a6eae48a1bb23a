"""compile_expression: text to a Program, once, at load. Everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.rules.checker import check
from edge_agent.rules.closures import Closure, closure
from edge_agent.rules.environment import Environment, Signal
from edge_agent.rules.errors import Fault, located
from edge_agent.rules.parser import parse
from edge_agent.rules.tree import Node, signals_read
from edge_agent.rules.values import UNKNOWN, Type, Value


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. `reads` are its signals by slot, without repetition."""

    text: str
    type: Type
    tree: Node
    reads: tuple[Signal, ...]
    _run: Closure = field(repr=False, compare=False)

    @property
    def signals(self) -> frozenset[str]:
        """The names of the signals it reads; a window has a name of its own, such as `mean(motor.temp, 5m)`."""
        return frozenset(signal.name for signal in self.reads)

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(signal.slot for signal in self.reads)

    def evaluate(self, values: Sequence[Value]) -> Value:
        """The value, or UNKNOWN; `values[slot]` is what `admit` gave for the signal's type. Never raises."""
        try:
            result: Value = self._run(values)
        except (ArithmeticError, TypeError, ValueError):
            # only a value that `admit` would not have let into its slot gets here
            return UNKNOWN
        return result

    def unknown(self, values: Sequence[Value]) -> tuple[str, ...]:
        """The names of its signals that are unknown, by slot."""
        return tuple(signal.name for signal in self.reads if values[signal.slot] is UNKNOWN)


def compile_expression(text: str, env: Environment, want: Type | None = Type.BOOL) -> Program:
    """The program of `text`; its type is `want`, or any where that is None. Raises ExpressionError."""
    try:
        node = _wanted(text, env, want)
    except Fault as fault:
        raise located(fault, text) from None
    by_slot = {signal.slot: signal for signal in signals_read(node)}
    reads = tuple(by_slot[slot] for slot in sorted(by_slot))
    return Program(text, node.type, node, reads, closure(node))


def _wanted(text: str, env: Environment, want: Type | None) -> Node:
    tree = parse(text)
    node = check(tree, env)
    if want is not None and node.type != want:
        raise Fault(f"this gives a {node.type}, a {want} is needed", tree.at)
    return node
