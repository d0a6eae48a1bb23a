"""From a key path to its line and column, for a text whose statements are known."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate

from edge_agent.config.problems import KeyPath
from edge_agent.config.statements import Spot, Statement

_BLOCK = 4096
"""Characters between two counts of the lines above: a file may have a million lines."""


@dataclass(frozen=True, slots=True)
class Twice:
    """The same key or table given a second time."""

    path: KeyPath
    first: Spot
    second: Spot
    statement: Statement


class Places:
    """Where each key of a text stands. A path that the text does not have has the place of what it would be in."""

    def __init__(self, text: str) -> None:
        self.twice: list[Twice] = []
        self._text = text
        newlines = (text.count("\n", at, at + _BLOCK) for at in range(0, len(text), _BLOCK))
        self._above = array("L", accumulate(newlines, initial=0))
        self._spots: dict[KeyPath, Spot] = {}
        self._given: set[KeyPath] = set()
        self._lengths: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        self._resolved: dict[tuple[KeyPath, KeyPath], KeyPath] = {}
        """What `_known` found, until a list grows: thousands of tables may be in one."""

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._spots

    def paths(self) -> frozenset[KeyPath]:
        """Of every table, list, element and key of the text."""
        return frozenset(self._spots)

    def line(self, *path: str | int) -> int:
        """Counted from 1; 0 where not even the first part of the path is in the text."""
        return self.line_column(path)[0]

    def line_column(self, path: KeyPath) -> tuple[int, int | None]:
        """Of the key, for an element of a list: of the element; without a column where only something around it
        is in the text."""
        for length in range(len(path), 0, -1):
            spot = self._spots.get(path[:length])
            if spot is not None:
                line, column = self.at(spot.key)
                return line, column if length == len(path) else None
        return 0, None

    def inside(self, path: KeyPath, line: int, column: int) -> tuple[int, int | None]:
        """The place in the file of line and column (from 1) of the text that is the value at `path`.

        Without a column where an escape stands in the text, since what is read is then not what was written.
        """
        spot = self._spots[path]
        raw = self._text[spot.value : spot.end]
        quotes = 3 if raw[:3] in ('"""', "'''") else 1
        body = spot.value + quotes + (raw[quotes : quotes + 1] == "\n")
        first_line, first_column = self.at(body)
        if raw[0] == '"' and "\\" in raw:
            return self.at(spot.value)[0], None
        return first_line + line - 1, column + (first_column - 1 if line == 1 else 0)

    def raw(self, path: KeyPath) -> str:
        """The value at `path` as it is written; of a list or table only the bracket."""
        spot = self._spots.get(path)
        return "" if spot is None else self._text[spot.value : spot.end]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1."""
        block = offset // _BLOCK
        line = 1 + self._above[block] + self._text.count("\n", block * _BLOCK, offset)
        return line, offset - self._text.rfind("\n", 0, offset)

    def enter(self, statement: Statement) -> KeyPath:
        """Takes in the next statement of the text; the path that it defines."""
        if statement.kind == "pair":
            return self._enter_pair(statement)
        parent = self._known(statement.parts[:-1], (), statement.spot)
        path = (*parent, statement.parts[-1])
        if statement.kind == "array":
            path = self._next_element(path, statement)
        else:
            self._give(path, statement.spot, statement)
        self._table = path
        return path

    def _enter_pair(self, statement: Statement) -> KeyPath:
        parent = self._known(statement.parts[:-1], self._table, statement.spot)
        path = (*parent, statement.parts[-1])
        self._give(path, statement.spot, statement)
        for inner, spot in statement.inner:
            for length in range(1, len(inner)):
                self._spots.setdefault((*path, *inner[:length]), spot)
            self._give((*path, *inner), spot, statement)
        return path

    def _next_element(self, path: KeyPath, statement: Statement) -> KeyPath:
        if path in self._given:
            self.twice.append(Twice(path, self._spots[path], statement.spot, statement))
        self._spots.setdefault(path, statement.spot)
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        self._resolved.clear()
        path = (*path, index)
        self._spots[path] = statement.spot
        return path

    def _known(self, parts: tuple[str, ...], start: KeyPath, spot: Spot) -> KeyPath:
        """The path of a table that may have been named before or is named here for the first time."""
        path = self._resolved.get((start, parts))
        if path is None:
            path = start
            for part in parts:
                path = (*path, part)
                self._spots.setdefault(path, spot)
                path = self._latest(path)
            self._resolved[start, parts] = path
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        """Below a list of tables everything belongs to its last element."""
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _give(self, path: KeyPath, spot: Spot, statement: Statement) -> None:
        if isinstance(path[-1], int):
            self._spots[path] = spot
        elif path in self._given or path in self._lengths:
            self.twice.append(Twice(path, self._spots[path], spot, statement))
        else:
            self._given.add(path)
            self._spots[path] = spot
