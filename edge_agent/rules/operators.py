"""Which operator takes which types, and how numbers of different types meet."""

from collections.abc import Sequence
from typing import Final

from edge_agent.rules import arithmetic as ar
from edge_agent.rules.arithmetic import ARITHMETIC, COMPARE, NEGATE, Run
from edge_agent.rules.tree import Apply, Constant, Node
from edge_agent.rules.values import UNKNOWN, Type

_EXACT_DOUBLE: Final = 2**53


def apply(name: str, run: Run, args: Sequence[Node], gives: Type) -> Node:
    """A strict operation; worked out at once where all its arguments are constants."""
    constants = [arg.value for arg in args if isinstance(arg, Constant)]
    if len(constants) < len(args):
        return Apply(name, tuple(args), gives, run)
    known = all(value is not UNKNOWN for value in constants)
    return Constant(run(*constants) if known else UNKNOWN, gives)


def unified(a: Type, b: Type) -> Type | None:
    """The one type that values of both become, or None. int and uint have none: neither holds the other."""
    if a == b:
        return a
    if a.is_number and b.is_number:
        return Type.DOUBLE if Type.DOUBLE in (a, b) else None
    if not (a.is_list and b.is_list):
        return None
    if a.element is None or b.element is None:
        return b if a.element is None else a
    element = unified(a.element, b.element)
    return None if element is None else Type.list_of(element)


def promoted(node: Node, to: Type) -> Node:
    """`node` as `to`, which `unified` gave for it and another."""
    if node.type == to or Type.EMPTY_LIST in (node.type, to):
        return node
    return apply("double", ar.as_double, (node,), to)


def binary(op: str, left: Node, right: Node) -> Node | None:
    """The operation of a binary operator, or None where it does not take these types."""
    if op in COMPARE:
        return _comparison(op, left, right)
    if op == "in":
        return _membership(left, right)
    if op == "[]":
        return _index(left, right)
    of = unified(left.type, right.type)
    run = None if of is None else ARITHMETIC.get((op, of.kind))
    if of is None or run is None:
        return None
    return apply(op, run, (promoted(left, of), promoted(right, of)), of)


def negated(operand: Node) -> Node | None:
    """-operand, or None for what has no sign."""
    run = NEGATE.get(operand.type.kind)
    return None if run is None else apply("-", run, (operand,), operand.type)


def _comparison(op: str, left: Node, right: Node) -> Node | None:
    if not comparable(left.type, right.type) or (op not in ("==", "!=") and left.type.is_list):
        return None
    return apply(op, COMPARE[op], _aligned(left, right), Type.BOOL)


def comparable(a: Type, b: Type) -> bool:
    """Whether values of these types can be equal: any two numbers, and lists of such."""
    if a.is_list and b.is_list:
        return a.element is None or b.element is None or comparable(a.element, b.element)
    return a == b or (a.is_number and b.is_number)


def _aligned(left: Node, right: Node) -> tuple[Node, Node]:
    """CEL compares a whole number with a double as doubles; Python would compare exactly.

    Below 2^53 the two agree, so that comparing a counter with a plain constant costs no conversion.
    """
    of = unified(left.type, right.type)
    if of is None:
        return (left, right)
    return (_beside(right, left, of), _beside(left, right, of))


def _beside(other: Node, node: Node, of: Type) -> Node:
    return node if _is_small(other) and not isinstance(node, Constant) else promoted(node, of)


def _is_small(node: Node) -> bool:
    return isinstance(node, Constant) and isinstance(node.value, (int, float)) and abs(node.value) < _EXACT_DOUBLE


def _membership(item: Node, items: Node) -> Node | None:
    if not items.type.is_list:
        return None
    element = items.type.element
    if element is None:
        return apply("in", ar.is_in, (item, items), Type.BOOL)
    if not comparable(item.type, element):
        return None
    of = unified(item.type, element)
    if of is not None:
        item, items = promoted(item, of), promoted(items, Type.list_of(of))
    return apply("in", ar.is_in, (item, items), Type.BOOL)


def _index(items: Node, index: Node) -> Node | None:
    if items.type.element is None or index.type not in (Type.INT, Type.UINT):
        return None
    return apply("[]", ar.item_at, (items, index), items.type.element)
