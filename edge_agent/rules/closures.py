"""Typed tree to closures over the list of slot values. Shapes that rules are full of have closures of their own."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from edge_agent.rules.arithmetic import Run
from edge_agent.rules.tree import Apply, Choose, Constant, Every, Has, Node, Not, Read, Some
from edge_agent.rules.values import UNKNOWN, Value

Closure: TypeAlias = Callable[[Sequence[Any]], Any]


def closure(node: Node) -> Closure:  # noqa: PLR0911 - one return a kind
    """A function from slot values to the value of `node`. It raises nothing as long as the slots hold their types."""
    match node:
        case Constant(value=value):
            return _constant(value)
        case Read(signal=signal):
            return itemgetter(signal.slot)
        case Has(signal=signal):
            return _has(signal.slot)
        case Apply():
            return _apply(node)
        case Not(operand=operand):
            return _not(closure(operand))
        case Every(operands=operands):
            return _chain(operands, _every_2, _every)
        case Some(operands=operands):
            return _chain(operands, _some_2, _some)
        case Choose(condition=condition, then=then, otherwise=otherwise):
            return _choose(closure(condition), closure(then), closure(otherwise))


def _constant(value: Value) -> Closure:
    return lambda _: value


def _has(slot: int) -> Closure:
    return lambda values: values[slot] is not UNKNOWN


def _not(operand: Closure) -> Closure:
    def run(values: Sequence[Any]) -> Any:
        truth = operand(values)
        return UNKNOWN if truth is UNKNOWN else not truth

    return run


def _choose(condition: Closure, then: Closure, otherwise: Closure) -> Closure:
    def run(values: Sequence[Any]) -> Any:
        truth = condition(values)
        if truth is UNKNOWN:
            return UNKNOWN
        return then(values) if truth else otherwise(values)

    return run


def _apply(node: Apply) -> Closure:
    run, args = node.run, node.args
    if len(args) == 1:
        return _apply_1(run, closure(args[0]))
    if len(args) != 2:
        return _apply_n(run, tuple(closure(arg) for arg in args))
    left, right = args
    if isinstance(right, Constant) and right.value is not UNKNOWN:
        if isinstance(left, Read):
            return _slot_and_constant(run, left.signal.slot, right.value)
        return _left_and_constant(run, closure(left), right.value)
    return _apply_2(run, closure(left), closure(right))


def _slot_and_constant(run: Run, slot: int, constant: Value) -> Closure:
    def slot_and_constant(values: Sequence[Any]) -> Any:
        value = values[slot]
        return UNKNOWN if value is UNKNOWN else run(value, constant)

    return slot_and_constant


def _left_and_constant(run: Run, left: Closure, constant: Value) -> Closure:
    def left_and_constant(values: Sequence[Any]) -> Any:
        value = left(values)
        return UNKNOWN if value is UNKNOWN else run(value, constant)

    return left_and_constant


def _apply_1(run: Run, arg: Closure) -> Closure:
    def apply_1(values: Sequence[Any]) -> Any:
        value = arg(values)
        return UNKNOWN if value is UNKNOWN else run(value)

    return apply_1


def _apply_2(run: Run, left: Closure, right: Closure) -> Closure:
    def apply_2(values: Sequence[Any]) -> Any:
        a = left(values)
        if a is UNKNOWN:
            return UNKNOWN
        b = right(values)
        return UNKNOWN if b is UNKNOWN else run(a, b)

    return apply_2


def _apply_n(run: Run, args: tuple[Closure, ...]) -> Closure:
    def apply_n(values: Sequence[Any]) -> Any:
        known = [arg(values) for arg in args]
        # by identity: `in` would compare, and UNKNOWN has no equal
        return UNKNOWN if any(value is UNKNOWN for value in known) else run(*known)

    return apply_n


def _chain(
    operands: tuple[Node, ...], of_two: Callable[[Closure, Closure], Closure], of_all: Callable[..., Closure]
) -> Closure:
    closures = tuple(closure(operand) for operand in operands)
    return of_two(*closures) if len(closures) == 2 else of_all(closures)


def _every_2(left: Closure, right: Closure) -> Closure:
    def every_2(values: Sequence[Any]) -> Any:
        a = left(values)
        if a is False:
            return False
        b = right(values)
        if b is False:
            return False
        return UNKNOWN if a is UNKNOWN or b is UNKNOWN else True

    return every_2


def _some_2(left: Closure, right: Closure) -> Closure:
    def some_2(values: Sequence[Any]) -> Any:
        a = left(values)
        if a is True:
            return True
        b = right(values)
        if b is True:
            return True
        return UNKNOWN if a is UNKNOWN or b is UNKNOWN else False

    return some_2


def _every(operands: tuple[Closure, ...]) -> Closure:
    def every(values: Sequence[Any]) -> Any:
        result: Any = True
        for operand in operands:
            truth = operand(values)
            if truth is False:
                return False
            if truth is UNKNOWN:
                result = UNKNOWN
        return result

    return every


def _some(operands: tuple[Closure, ...]) -> Closure:
    def some(values: Sequence[Any]) -> Any:
        result: Any = False
        for operand in operands:
            truth = operand(values)
            if truth is True:
                return True
            if truth is UNKNOWN:
                result = UNKNOWN
        return result

    return some
