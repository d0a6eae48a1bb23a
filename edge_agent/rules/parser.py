"""Tokens to a syntax tree, by CEL's grammar. Nesting and size are bounded, so no text exhausts the stack."""

from collections.abc import Iterator, Sequence
from typing import Final

from edge_agent.rules.errors import Fault, shown
from edge_agent.rules.lexer import Token, tokenize
from edge_agent.rules.syntax import Call, Chain, Choice, ListOf, Literal, Name, Operation, Syntax
from edge_agent.rules.values import INT_MAX, INT_MIN, UINT_MAX, Known, Type

MAX_NESTING: Final = 32
"""Of parentheses, brackets and calls in the text: bounds the parser's own recursion."""
MAX_DEPTH: Final = 64
"""Of the tree, also by long sums such as a + b + c: bounds the recursion of everything after the parser."""
MAX_NODES: Final = 1_000

_PRECEDENCE: Final = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_CHAINED: Final = ("&&", "||")
_CONSTANTS: Final = {"true": True, "false": False}
_RESERVED: Final = frozenset((
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
    "namespace", "return", "var", "void", "while",
))  # fmt: skip
_WORDS: Final = {"and": "write &&", "or": "write ||", "not": "write !"}
_REPEATED: Final = {
    "*": "there is no power operator",
    "<": "math.bitShiftLeft(a, n) shifts bits",
    ">": "math.bitShiftRight(a, n) shifts bits",
}


def parse(text: str) -> Syntax:
    """The syntax tree of `text`. Raises Fault."""
    return _Parser(tokenize(text)).whole()


class _Parser:
    """Recursive descent; `_open` counts what is being nested at this moment, `_nodes` all that was built."""

    def __init__(self, source: Iterator[Token]) -> None:
        self._source = source
        self._tokens: list[Token] = []
        self._next = 0
        self._open = 0
        self._nodes = 0

    def whole(self) -> Syntax:
        if self._peek().kind == "end":
            raise Fault("the expression is empty", 0)
        tree = self._expression()
        if self._peek().kind != "end":
            raise self._unexpected()
        return tree

    def _expression(self) -> Syntax:
        self._open += 1
        if self._open > MAX_NESTING:
            raise Fault(f"nested more than {MAX_NESTING} levels deep", self._peek().at, _SPLIT)
        tree = self._binary(1)
        mark = self._accept("?")
        if mark is not None:
            then = self._binary(1)
            self._expect(":")
            tree = self._choice(tree, then, self._expression(), mark.at)
        self._open -= 1
        return tree

    def _binary(self, least: int) -> Syntax:
        """Precedence climbing: operators that bind at least as tightly as `least`, all of them to the left."""
        left = self._unary()
        while True:
            token = self._peek()
            precedence = _PRECEDENCE.get(token.text, 0) if token.kind in ("op", "name") else 0
            if precedence < least or precedence == 0:
                return left
            self._next += 1
            if token.text in _CHAINED:
                left = self._chain(left, token)
            else:
                left = self._operation(token.text, (left, self._binary(precedence + 1)), token.at)

    def _chain(self, left: Syntax, mark: Token) -> Syntax:
        """`left && b && c`, after the first mark: one node of any length, so a hundred alternatives are one level."""
        op, precedence = mark.text, _PRECEDENCE[mark.text]
        operands = list(left.operands) if isinstance(left, Chain) and left.op == op else [left]
        below = max(operand.depth for operand in operands)
        while True:
            right = self._binary(precedence + 1)
            operands.append(right)
            below = max(below, right.depth)
            depth = self._grow(below, mark.at)
            again = self._accept(op)
            if again is None:
                return Chain(op, tuple(operands), mark.at, depth)
            mark = again

    def _unary(self) -> Syntax:
        marks: list[Token] = []
        while (mark := self._accept("!", "-")) is not None:
            if len(marks) == MAX_DEPTH:
                raise _too_deep(mark.at)
            marks.append(mark)
        tree = self._negative_literal(marks) or self._postfix()
        for mark in reversed(marks):
            tree = self._operation(mark.text, (tree,), mark.at)
        return tree

    def _negative_literal(self, marks: list[Token]) -> Syntax | None:
        """Takes the minus before a number into the number: 2^63 has no positive counterpart."""
        token = self._peek()
        if not marks or marks[-1].text != "-" or token.kind not in ("whole", "double"):
            return None
        marks.pop()
        self._next += 1
        return self._suffixed(self._number(token, sign=-1))

    def _postfix(self) -> Syntax:
        return self._suffixed(self._primary())

    def _suffixed(self, tree: Syntax) -> Syntax:
        while True:
            if (bracket := self._accept("[")) is not None:
                index = self._expression()
                self._expect("]")
                tree = self._operation("[]", (tree, index), bracket.at)
            elif (dot := self._accept(".")) is not None:
                tree = self._method(tree, dot)
            else:
                return tree

    def _method(self, receiver: Syntax, dot: Token) -> Syntax:
        name = self._peek()
        if name.kind != "name" or self._peek(1).text != "(":
            raise Fault("a value has no attributes", dot.at, "a dot is part of a signal's name, or calls a function")
        self._next += 2
        return self._call(name.text, (receiver, *self._arguments(")")), name.at, is_method=True)

    def _primary(self) -> Syntax:
        token = self._take()
        match token.kind:
            case "whole" | "uint" | "double":
                return self._number(token)
            case "string":
                return self._literal(token.value, Type.STRING, token.at)
            case "name" | "quoted":
                return self._named(token)
        if token.text == "(":
            tree = self._expression()
            self._expect(")")
            return tree
        if token.text == "[":
            items = self._arguments("]")
            return ListOf(items, token.at, self._grow(_deepest(items), token.at))
        self._next -= 1
        raise self._unexpected()

    def _named(self, first: Token) -> Syntax:
        """A constant, a signal, a function, or a signal followed by a method: `a.b`, `size(`, `a.b.contains(`."""
        if first.kind == "name":
            _refuse_keyword(first)
        if first.text in _CONSTANTS and first.kind == "name":
            return self._literal(_CONSTANTS[first.text], Type.BOOL, first.at)
        parts = [first]
        while self._peek().text == "." and (part := self._peek(1)).kind in ("name", "quoted"):
            parts.append(part)
            self._next += 2
        if self._peek().text != "(":
            return self._name(parts)
        return self._named_call(parts)

    def _named_call(self, parts: list[Token]) -> Syntax:
        last = parts[-1]
        self._next += 1
        if len(parts) == 1 or (len(parts) == 2 and parts[0].text == "math"):
            name = ".".join(part.text for part in parts)
            return self._call(name, self._arguments(")"), parts[0].at, is_method=False)
        receiver = self._name(parts[:-1])
        return self._call(last.text, (receiver, *self._arguments(")")), last.at, is_method=True)

    def _arguments(self, closing: str) -> tuple[Syntax, ...]:
        items: list[Syntax] = []
        while self._accept(closing) is None:
            items.append(self._expression())
            if self._accept(",") is None:
                self._expect(closing)
                break
        return tuple(items)

    def _number(self, token: Token, sign: int = 1) -> Syntax:
        if token.kind == "double":
            return self._literal(sign * float(token.value), Type.DOUBLE, token.at)
        number = sign * int(token.value)
        least, most, of = (0, UINT_MAX, Type.UINT) if token.kind == "uint" else (INT_MIN, INT_MAX, Type.INT)
        if not least <= number <= most:
            raise Fault(f"{shown(token.text)} is out of the range of {of}", token.at, "write it as a double")
        return self._literal(number, of, token.at)

    def _literal(self, value: Known, of: Type, at: int) -> Syntax:
        self._grow(0, at)
        return Literal(value, of, at)

    def _name(self, parts: Sequence[Token]) -> Syntax:
        _refuse_dunder(parts)
        self._grow(0, parts[0].at)
        return Name(".".join(part.text for part in parts), parts[0].at)

    def _call(self, name: str, args: tuple[Syntax, ...], at: int, *, is_method: bool) -> Syntax:
        return Call(name, args, is_method, at, self._grow(_deepest(args), at))

    def _operation(self, op: str, operands: tuple[Syntax, ...], at: int) -> Syntax:
        return Operation(op, operands, at, self._grow(_deepest(operands), at))

    def _choice(self, condition: Syntax, then: Syntax, otherwise: Syntax, at: int) -> Syntax:
        depth = self._grow(_deepest((condition, then, otherwise)), at)
        return Choice(condition, then, otherwise, at, depth)

    def _grow(self, below: int, at: int) -> int:
        """Accounts for one more node above a tree of depth `below`; its depth."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Fault(f"more than {MAX_NODES} operations and operands", at, _SPLIT)
        if below >= MAX_DEPTH:
            raise _too_deep(at)
        return below + 1

    def _peek(self, ahead: int = 0) -> Token:
        wanted = self._next + ahead
        while len(self._tokens) <= wanted:
            token = next(self._source, None)
            # there is always one: the last is of kind "end", and stands for all that would follow
            self._tokens.append(self._tokens[-1] if token is None else token)
        return self._tokens[wanted]

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _accept(self, *texts: str) -> Token | None:
        token = self._peek()
        if token.kind != "op" or token.text not in texts:
            return None
        self._next += 1
        return token

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            raise self._unexpected(f"{shown(text)} is expected")

    def _unexpected(self, instead: str = "") -> Fault:
        token = self._peek()
        if token.kind == "end":
            return Fault("the expression ends too early", token.at, instead)
        previous = self._tokens[self._next - 1].text if self._next else ""
        repeated = _REPEATED.get(token.text, "") if token.text == previous else ""
        hint = repeated or _WORDS.get(token.text, "") or instead
        return Fault(f"{shown(token.text)} is not expected here", token.at, hint)


_SPLIT: Final = "split it into several rules or derived signals"


def _deepest(trees: Sequence[Syntax]) -> int:
    return max((tree.depth for tree in trees), default=0)


def _too_deep(at: int) -> Fault:
    return Fault(f"more than {MAX_DEPTH} operations on top of each other", at, _SPLIT)


def _refuse_keyword(token: Token) -> None:
    if token.text == "null":
        raise Fault("there is no null here", token.at, "has(signal) tells whether a signal is known")
    if token.text == "in" or token.text in _RESERVED:
        raise Fault(f"{shown(token.text)} is a reserved word", token.at, f"write `{token.text}` for the name")


def _refuse_dunder(parts: Sequence[Token]) -> None:
    for part in parts:
        if part.text.startswith("__"):
            raise Fault(f"{shown(part.text)} is no name of a signal", part.at, "a value has no attributes")
