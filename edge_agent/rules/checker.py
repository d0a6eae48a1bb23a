"""Syntax tree to typed tree: names become slots, every operation gets its types, or a Fault says why not."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final, cast

from edge_agent.durations import DurationError, parse_window
from edge_agent.rules import syntax as syn
from edge_agent.rules.arithmetic import tuple_of
from edge_agent.rules.environment import Environment, Signal, SignalRefused
from edge_agent.rules.errors import Fault, shown
from edge_agent.rules.functions import EXTREMES, FUNCTIONS, METHODS, REFUSED, Overload
from edge_agent.rules.operators import apply, binary, negated, promoted, unified
from edge_agent.rules.tree import Choose, Constant, Every, Has, Node, Not, Read, Some
from edge_agent.rules.values import Type
from edge_agent.rules.windows import WINDOW_FUNCTIONS, WindowFunction

_CALLABLE: Final = frozenset((*FUNCTIONS, *METHODS, *EXTREMES, *WINDOW_FUNCTIONS, "has", "dyn"))


def check(tree: syn.Syntax, env: Environment) -> Node:
    """The typed tree of `tree` over the signals of `env`. Raises Fault."""
    return _Checker(env).node(tree)


class _Checker:
    def __init__(self, env: Environment) -> None:
        self._env = env

    def node(self, tree: syn.Syntax) -> Node:  # noqa: PLR0911 - one return a kind
        match tree:
            case syn.Literal():
                return Constant(tree.value, tree.type)
            case syn.Name():
                return Read(self._signal(tree))
            case syn.ListOf():
                return self._list(tree)
            case syn.Call():
                return self._call(tree)
            case syn.Operation():
                return self._operation(tree)
            case syn.Chain():
                return self._chain(tree)
            case syn.Choice():
                return self._choice(tree)

    def _signal(self, name: syn.Name) -> Signal:
        signal = self._env.resolve(name.name)
        if signal is None:
            raise Fault(f"unknown signal {shown(name.name)}", name.at, self._instead_of(name.name))
        return signal

    def _instead_of(self, name: str) -> str:
        """The nearest of the same stream; else what the site says of that stream; else the nearest of all."""
        names = list(self._env.names())
        head, dot, tail = name.partition(".")
        beside = [other.removeprefix(head + dot) for other in names if other.startswith(head + ".")]
        return _nearest(tail, beside, head + dot) or self._env.hint(name) or _nearest(name, names)

    def _list(self, tree: syn.ListOf) -> Node:
        items = [self.node(item) for item in tree.items]
        of = Type.EMPTY_LIST if not items else Type.list_of(_one_type(items, tree.items, "a list"))
        element = of.element
        args = items if element is None else [promoted(item, element) for item in items]
        return apply("list", tuple_of, args, of)

    def _operation(self, tree: syn.Operation) -> Node:
        operands = [self.node(operand) for operand in tree.operands]
        if tree.op == "!":
            return Not(_bool(operands[0], tree.operands[0], "!"))
        result = negated(*operands) if len(operands) == 1 else binary(tree.op, *operands)
        if result is None:
            raise _no_operation(tree, [operand.type for operand in operands])
        return result

    def _chain(self, tree: syn.Chain) -> Node:
        operands = tuple(_bool(self.node(operand), operand, tree.op) for operand in tree.operands)
        return Every(operands) if tree.op == "&&" else Some(operands)

    def _choice(self, tree: syn.Choice) -> Node:
        condition = _bool(self.node(tree.condition), tree.condition, "?")
        sides = (self.node(tree.then), self.node(tree.otherwise))
        of = _one_type(sides, (tree.then, tree.otherwise), "the two sides of ? :")
        return Choose(condition, promoted(sides[0], of), promoted(sides[1], of), of)

    def _call(self, tree: syn.Call) -> Node:
        if tree.is_method:
            return self._overloaded(tree, METHODS)
        if tree.name in WINDOW_FUNCTIONS and not self._is_extreme(tree):
            return self._window(tree, WINDOW_FUNCTIONS[tree.name])
        if tree.name in EXTREMES:
            return self._extreme(tree)
        if tree.name == "has":
            return Has(self._signal(_signal_argument(tree)))
        if tree.name == "dyn" and len(tree.args) == 1:
            return self.node(tree.args[0])
        return self._overloaded(tree, FUNCTIONS)

    def _overloaded(self, tree: syn.Call, table: dict[str, tuple[Overload, ...]]) -> Node:
        overloads = table.get(tree.name)
        if overloads is None:
            raise _unknown_function(tree)
        args = [self.node(arg) for arg in tree.args]
        types = [arg.type for arg in args]
        for overload in overloads:
            if overload.takes(types):
                return apply(tree.name, overload.run, args, overload.gives)
        raise _no_overload(tree, types, overloads)

    @staticmethod
    def _is_extreme(tree: syn.Call) -> bool:
        """min and max are both: over a window where the last argument is a string, else of their arguments."""
        last = tree.args[-1] if tree.args else None
        return tree.name in EXTREMES and not (isinstance(last, syn.Literal) and last.type == Type.STRING)

    def _extreme(self, tree: syn.Call) -> Node:
        run = EXTREMES[tree.name]
        args = [self.node(arg) for arg in tree.args]
        if len(args) == 1 and args[0].type.is_list:
            element = args[0].type.element
            if element is None or not element.is_number:
                raise Fault(f"{tree.name} takes numbers, not a {args[0].type}", tree.at)
            return apply(tree.name, run, args, element)
        if not args or not all(arg.type.is_number for arg in args):
            raise Fault(f"{tree.name} takes numbers", tree.at, f"such as {tree.name}(a, b)")
        of = _one_type(args, tree.args, tree.name)
        return apply(tree.name, lambda *numbers: run(numbers), [promoted(arg, of) for arg in args], of)

    def _window(self, tree: syn.Call, function: WindowFunction) -> Node:
        signal = self._signal(_signal_argument(tree))
        if len(tree.args) != (2 if function.argument is None else 3):
            raise Fault(f"{tree.name} takes {_window_shape(tree.name, function)}", tree.at)
        gives = function.gives(signal.type)
        if gives is None:
            raise Fault(f"{tree.name} takes a number, {shown(signal.name)} is a {signal.type}", tree.args[0].at)
        argument = None if function.argument is None else _number_argument(tree, function.argument)
        return Read(self._derived(tree, function, signal, argument, gives))

    def _derived(
        self, tree: syn.Call, function: WindowFunction, signal: Signal, argument: float | None, gives: Type
    ) -> Signal:
        text = tree.args[-1]
        if not isinstance(text, syn.Literal) or text.type != Type.STRING:
            raise Fault(f"{tree.name} takes {_window_shape(tree.name, function)}", text.at)
        try:
            window = parse_window(cast(str, text.value))
            if window.readings and not function.counts:
                raise Fault(f"{tree.name} takes a duration", text.at, 'such as "30s"')
            return self._env.derive(tree.name, signal, window, argument, gives)
        except (DurationError, SignalRefused) as error:
            raise Fault(error.message, text.at, error.hint) from None


def _bool(node: Node, tree: syn.Syntax, op: str) -> Node:
    if node.type != Type.BOOL:
        raise Fault(f"{op} takes a bool, this is a {node.type}", tree.at, _bool_hint(node.type))
    return node


def _bool_hint(of: Type) -> str:
    return "compare it with something, such as x != 0" if of.is_number else ""


def _one_type(nodes: Sequence[Node], trees: Sequence[syn.Syntax], where: str) -> Type:
    """The type that all of `nodes` become. Raises Fault at the first that does not fit those before it."""
    of = nodes[0].type
    for node, tree in zip(nodes, trees, strict=True):
        joined = unified(of, node.type)
        if joined is None:
            hint = "convert with int() or uint()" if of.is_number and node.type.is_number else ""
            raise Fault(f"{where} cannot mix {of} and {node.type}", tree.at, hint)
        of = joined
    return of


def _signal_argument(tree: syn.Call) -> syn.Name:
    first = tree.args[0] if tree.args else None
    if not isinstance(first, syn.Name):
        at = tree.at if first is None else first.at
        raise Fault(f"{tree.name} takes the name of a signal", at, "define a [[signal]] for a computed value")
    if tree.name == "has" and len(tree.args) > 1:
        raise Fault("has takes one signal", tree.at)
    return first


def _number_argument(tree: syn.Call, bounds: tuple[float, float]) -> float:
    number = tree.args[1]
    if not isinstance(number, syn.Literal) or not number.type.is_number:
        raise Fault(f"{tree.name} takes a number before the window", number.at)
    value = float(cast(float, number.value))
    if not bounds[0] <= value <= bounds[1]:
        raise Fault(f"{tree.name} takes a number from {bounds[0]:g} to {bounds[1]:g}", number.at)
    return value


def _window_shape(name: str, function: WindowFunction) -> str:
    middle = "" if function.argument is None else "95, "
    return f'a signal and a window, such as {name}(motor.temp, {middle}"30s")'


def _no_operation(tree: syn.Operation, types: Sequence[Type]) -> Fault:
    op = tree.op
    if len(types) == 1:
        return Fault(f"{op} does not take a {types[0]}", tree.at)
    if op == "[]":
        return Fault(f"a {types[0]} has no item at a {types[1]}", tree.at, "an index is a whole number")
    return Fault(f"{op} does not take a {types[0]} and a {types[1]}", tree.at, _operation_hint(op, *types))


def _operation_hint(op: str, left: Type, right: Type) -> str:
    kinds = {left.kind, right.kind}
    if kinds == {"int", "uint"}:
        return "convert one side with int() or uint()"
    if op == "%" and "double" in kinds:
        return "% takes whole numbers"
    if "bool" in kinds and op in ("<", "<=", ">", ">="):
        return "write a < x && x < b for a < x < b"
    if "string" in kinds and len(kinds) > 1:
        return "convert one side with string(), int() or double()"
    return ""


def _no_overload(tree: syn.Call, types: Sequence[Type], overloads: Sequence[Overload]) -> Fault:
    given = ", ".join(str(of) for of in types) or "nothing"
    wanted = " or ".join(", ".join(str(of) for of in overload.params) for overload in overloads)
    return Fault(f"{tree.name} does not take ({given})", tree.at, f"it takes ({wanted})")


def _unknown_function(tree: syn.Call) -> Fault:
    hint = REFUSED.get(tree.name, "")
    if not hint and not tree.is_method and tree.name in METHODS:
        hint = f"write value.{tree.name}(...)"
    elif not hint and tree.is_method and tree.name in _CALLABLE:
        hint = f"write {tree.name}(...)"
    return Fault(f"unknown function {shown(tree.name)}", tree.at, hint or _nearest(tree.name, _CALLABLE))


def _nearest(name: str, known: Iterable[str], head: str = "") -> str:
    # comparing takes time: a long name is no misspelling, and of a huge site only a part is tried
    alike = [other for other in sorted(known) if abs(len(other) - len(name)) <= 1 + len(name) // 3]
    close = difflib.get_close_matches(name, alike[:2_000], n=1, cutoff=0.6) if len(name) <= 100 else []
    return f"did you mean {shown(head + close[0])}?" if close else ""
