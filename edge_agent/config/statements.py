"""TOML text to its statements, with the place of every key and value: what tomllib does not keep.

One pass, linear in the text, no recursion. It finds places, not mistakes: tomllib has the last word on what is
TOML. Only what would make tomllib slow or deep is refused here, before it is called (`Limit`).
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_agent.config.problems import KeyPath

MAX_PARTS = 16
MAX_DEPTH = 32
MAX_THINGS = 10_000

# possessive and atomic, so that no text makes a pattern go back over what it has passed
_BLANK = re.compile(r"[ \t]*+")
_NOTHING = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_KEY_PART = re.compile(r'[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|\'[^\'\n]*+\'')
_KEY = re.compile(rf"(?:{_KEY_PART.pattern})(?:[ \t]*+\.[ \t]*+(?:{_KEY_PART.pattern}))*+[ \t]*+")
_SCALAR = re.compile(
    r'"""(?:[^"\\]++|\\(?s:.)|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    r'|"(?!"")(?:[^"\\\n]++|\\.)*+"'
    r"|'(?!'')[^'\n]*+'"
    r"""|[^\s\[\]{},=#"']++"""
)
_COMMENT = re.compile(r"#[^\n]*+")


class Limit(Exception):
    """The text is too deep or too long to be a site file; `at` is the offset."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


@dataclass(frozen=True, slots=True)
class Spot:
    """Offsets into the text: where a key begins, and the extent of its value (of a list or table: its bracket)."""

    key: int
    value: int
    end: int


@dataclass(slots=True)
class Statement:
    """A table header or `key = value`. `parts` is empty where not even the key could be made out.

    `inner` holds the keys and elements inside the value, relative to it. `open_at` is the offset of a bracket or
    quote that is never closed; the statement then goes on to the end of the text.
    """

    kind: str
    """`table`, `array` (of tables) or `pair`."""
    start: int
    end: int
    parts: tuple[str, ...] = ()
    spot: Spot = Spot(0, 0, 0)
    inner: list[tuple[KeyPath, Spot]] = field(default_factory=list)
    open_at: int | None = None


class _Broken(Exception):
    """This statement is not TOML from here on."""


def statements(text: str) -> Iterator[Statement]:
    """The statements of `text` in their order; raises Limit."""
    scanner = _Scanner(text)
    while scanner.next_statement():
        yield scanner.statement()


@dataclass(slots=True)
class _Frame:
    """An open bracket: of a list with the index of its next element, or of an inline table."""

    closing: str
    path: KeyPath
    at: int
    index: int = 0


class _Scanner:
    """`at` is where the next thing is read from."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.things = 0

    def next_statement(self) -> bool:
        """Goes over blank lines and comments to where a statement begins; False at the end of the text."""
        self._skip(_NOTHING)
        return self.at < len(self.text)

    def statement(self) -> Statement:
        start = self.at
        self._count()
        kind = "array" if self.text.startswith("[[", start) else "table" if self._peek() == "[" else "pair"
        found = Statement(kind, start, start)
        with contextlib.suppress(_Broken):
            self._read(found)
        newline = len(self.text) if found.open_at is not None else self.text.find("\n", self.at)
        self.at = found.end = len(self.text) if newline < 0 else newline
        return found

    def _read(self, found: Statement) -> None:
        self.at += {"array": 2, "table": 1, "pair": 0}[found.kind]
        self._skip(_BLANK)
        key_at = self.at
        found.parts = self._key()
        found.spot = Spot(key_at, key_at, self.at)
        if found.kind == "pair":
            self._equals()
            self._value(found, key_at)

    def _key(self) -> tuple[str, ...]:
        match = _KEY.match(self.text, self.at)
        if match is None:
            raise _Broken
        parts = _KEY_PART.findall(match[0])
        if len(parts) > MAX_PARTS:
            raise Limit(f"a key of {len(parts)} parts; at most {MAX_PARTS} are allowed", self.at)
        self.at = match.end()
        return tuple(map(_unquoted, parts) if '"' in match[0] or "'" in match[0] else parts)

    def _equals(self) -> None:
        if self._peek() != "=":
            raise _Broken
        self.at += 1
        self._skip(_BLANK)

    def _value(self, found: Statement, key_at: int) -> None:
        """The value and all that is inside it."""
        begin = self.at
        frames: list[_Frame] = []
        try:
            self._scalar_or_open(frames, (), key_at, found)
            while frames:
                self._inside(frames, found)
        except _Broken:
            opened = next((frame.at for frame in frames if frame.closing == "]"), self.at)
            if self.text.find("\n", opened, self.at) >= 0:
                found.open_at = opened
            raise
        finally:
            found.spot = Spot(key_at, begin, self.at)

    def _inside(self, frames: list[_Frame], found: Statement) -> None:
        """One step inside the innermost bracket."""
        frame = frames[-1]
        self._skip(_BLANK)
        c = self._peek()
        if c == frame.closing:
            frames.pop()
            self.at += 1
        elif c == ",":
            frame.index += 1
            self.at += 1
        elif frame.closing == "]" and c in ("\n", "#"):
            self._skip(_COMMENT)
            self.at += self._peek() == "\n"
        elif c == "":
            found.open_at = frames[0].at
            raise _Broken
        elif frame.closing == "]":
            self._scalar_or_open(frames, (*frame.path, frame.index), self.at, found)
        else:
            key_at = self.at
            path = (*frame.path, *self._key())
            self._equals()
            self._scalar_or_open(frames, path, key_at, found)

    def _scalar_or_open(self, frames: list[_Frame], path: KeyPath, key_at: int, found: Statement) -> None:
        begin = self.at
        self._count()
        c = self._peek()
        if c in ("[", "{"):
            if len(frames) == MAX_DEPTH:
                raise Limit(f"lists and tables inside one another, more than {MAX_DEPTH} deep", begin)
            frames.append(_Frame("]" if c == "[" else "}", path, begin))
            self.at += 1
        else:
            self._scalar(found)
        if path:
            found.inner.append((path, Spot(key_at, begin, self.at)))

    def _scalar(self, found: Statement) -> None:
        match = _SCALAR.match(self.text, self.at)
        if match is None:
            if self.text.startswith(('"""', "'''"), self.at):
                found.open_at = self.at
            raise _Broken
        self.at = match.end()

    def _count(self) -> None:
        self.things += 1
        if self.things > MAX_THINGS:
            raise Limit(f"more than {MAX_THINGS} keys and values", self.at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]


def _unquoted(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] != '"':
        return part
    if "\\" not in part:
        return part[1:-1]
    try:
        return next(iter(tomllib.loads(f"{part} = 0")))
    except tomllib.TOMLDecodeError:
        raise _Broken from None
