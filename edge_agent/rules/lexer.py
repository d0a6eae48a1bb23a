"""Text to tokens, by CEL's lexical rules. Length is bounded, and the time is linear in it."""

import re
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

from edge_agent.rules.errors import Fault, shown
from edge_agent.rules.literals import double_value, string_value, whole_value

MAX_EXPRESSION_CHARS: Final = 4_096

Kind = Literal["whole", "uint", "double", "string", "name", "quoted", "op", "end"]


class Token(Struct, frozen=True, gc=False):
    """`text` is the source, or a backquoted name without its quotes; `at` the offset of its first character.

    `value` is that of a literal. A "whole" has no range yet: a minus may stand before it.
    """

    kind: Kind
    text: str
    at: int
    value: int | float | str = 0


_TOKEN = re.compile(
    r"""
    (?P<space>  [ \t\r\n\f]+ | //[^\n]* )
  | (?P<op>     && | \|\| | [=!<>]= | \.(?![0-9]) | [-+*/%<>!?:,()\[\]] )
  | (?P<string> (?: [rR][bB]? | [bB][rR] ) (?: \"{3}(?s:.*?)\"{3} | '{3}(?s:.*?)'{3} | "[^"\r\n]*" | '[^'\r\n]*' )
              | [bB]? (?: \"{3}(?:[^\\]|\\(?s:.))*?\"{3} | '{3}(?:[^\\]|\\(?s:.))*?'{3}
                        | "(?:[^"\\\r\n]|\\.)*" | '(?:[^'\\\r\n]|\\.)*' ) )
  | (?P<double> [0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
  | (?P<uint>   (?: 0[xX][0-9a-fA-F]+ | [0-9]+ )[uU] )
  | (?P<whole>  0[xX][0-9a-fA-F]+ | [0-9]+ )
  | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
  | (?P<quoted> `[A-Za-z0-9_.\-/ ]+` )
  | (?P<bad>    (?s:.) )
    """,
    re.VERBOSE,
)
_NUMBERS = ("double", "uint", "whole")
_HINTS = {
    "=": "compare with ==",
    "&": "write && for and; math.bitAnd(a, b) works on bits",
    "|": "write || for or; math.bitOr(a, b) works on bits",
    "^": "math.bitXor(a, b) works on bits",
    "~": "math.bitNot(a) works on bits",
    "{": "there are no maps here",
    '"': "is the closing quote missing?",
    "'": "is the closing quote missing?",
    "`": "is the closing backquote missing?",
}


def tokenize(text: str) -> Iterator[Token]:
    """The tokens of `text` and one of kind "end", one by one: a hostile text is read no further than needed.

    Raises Fault.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise Fault(
            f"the expression has {len(text)} characters, {MAX_EXPRESSION_CHARS} are allowed",
            0,
            "split it into several rules or derived signals",
        )
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "op":
            yield Token("op", match[0], match.start())
        elif kind == "name":
            yield Token("name", match[0], match.start())
        elif kind != "space":
            yield _token(match, text)
    yield Token("end", "", len(text))


def _token(match: re.Match[str], text: str) -> Token:
    kind, source, at = match.lastgroup, match.group(), match.start()
    if kind in _NUMBERS and re.match(r"[A-Za-z0-9_]", text[match.end() : match.end() + 1]):
        raise Fault("a letter follows a number", match.end(), 'a duration is a string, such as "30s"')
    if kind == "string":
        return Token("string", source, at, string_value(source, at))
    if kind == "double":
        return Token("double", source, at, double_value(source, at))
    if kind == "uint":
        return Token("uint", source, at, whole_value(source))
    if kind == "whole":
        return Token("whole", source, at, whole_value(source))
    if kind == "quoted":
        return Token("quoted", source[1:-1], at)
    raise Fault(f"{shown(source)} is not expected here", at, _HINTS.get(source, ""))
