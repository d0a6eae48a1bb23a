"""Collects problems: turns key paths into places and into the names that a technician knows things by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_agent.config.places import Places
from edge_agent.config.problems import KeyPath, Problem, Severity, bare, in_order, plain, shown

MAX_PROBLEMS = 200
"""More than this nobody reads; the rest is counted."""

Hint = str | Callable[[], str]

_NAMES = ("name", "id")


class Report:
    """The problems of one file, in the order of finding."""

    def __init__(self, file: str, places: Places, tables: Mapping[str, object]) -> None:
        self.file = file
        self.places = places
        self._tables = tables
        self._problems: list[Problem] = []
        self._left_out = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        if not self._left_out:
            return in_order(self._problems)
        reason = f"{self._left_out} more problems are not shown"
        return (*in_order(self._problems), Problem(self.file, 0, None, "", reason, "mend these first"))

    def add(
        self, path: KeyPath, reason: str, hint: Hint = "", severity: Severity = "error",
        *, at: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """`at`: line and column inside the text at `path`, both from 1. A `hint` that costs something to find is
        given as a function."""
        line, column = self.places.inside(path, *at) if at and path in self.places else self.places.line_column(path)
        self.put(line, column, path, reason, hint, severity)

    def put(
        self, line: int, column: int | None, path: KeyPath, reason: str, hint: Hint, severity: Severity = "error"
    ) -> None:
        """A problem whose place is known already."""
        if len(self._problems) == MAX_PROBLEMS:
            self._left_out += 1
            return
        # also of what drivers say, and of paths: whatever stands in the file reaches no terminal as it is
        said, advised = plain(reason), plain(hint if isinstance(hint, str) else hint())
        self._problems.append(Problem(self.file, line, column, self._key(path), said, advised, severity))

    def _key(self, path: KeyPath) -> str:
        """`rule "overheat": when`, `uplink.tls.ca`, `signal #3: fn`."""
        if len(path) < 2 or not isinstance(path[1], int):
            return _dotted(path)
        head = f"{bare(str(path[0]))} {self._name(str(path[0]), path[1])}"
        return f"{head}: {_dotted(path[2:])}" if len(path) > 2 else head

    def _name(self, table: str, index: int) -> str:
        """How the file calls the element, or its number, from 1."""
        elements = self._tables.get(table)
        element = elements[index] if isinstance(elements, list) and index < len(elements) else None
        for key in _NAMES:
            name = element.get(key) if isinstance(element, dict) else None
            if isinstance(name, str) and name:
                return shown(name)
        return f"#{index + 1}"


def _dotted(path: KeyPath) -> str:
    """`actions #2.set`."""
    text = ""
    for part in path:
        text += f" #{part + 1}" if isinstance(part, int) else f".{bare(part)}" if text else bare(part)
    return text
