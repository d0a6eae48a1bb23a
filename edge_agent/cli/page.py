"""A page of words on a terminal of any width: sections with a title, lines that start with a name and a state."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_agent.cli.show import paint, safe

_TITLE = 10
"""Columns of the titles, where there is room for them beside the lines."""
_NARROW = 40
_LONGEST_NAME = 16


class Line(NamedTuple):
    """`name  STATE, text`. `tone` colours the state (`good`, `bad`, `odd` or empty); a bad one is in capitals.

    Name, state and text may hold anything: what is not printable is escaped.
    """

    name: str = ""
    state: str = ""
    tone: str = ""
    text: str = ""


class Section(NamedTuple):
    """`tone` colours the title."""

    title: str
    lines: Sequence[Line]
    tone: str = ""


def laid_out(sections: Sequence[Section], width: int, *, colour: bool) -> list[str]:
    """The page, no line longer than `width`; sections without lines are left out."""
    page: list[str] = []
    for section in sections:
        page += _section(section, width, colour)
    return page


def _section(section: Section, width: int, colour: bool) -> Iterator[str]:
    if not section.lines:
        return
    shown = safe(section.title)[: min(width, _TITLE - 1)]
    title = paint(shown, section.tone, colour) + " " * (_TITLE - len(shown))
    if width < _NARROW:
        yield title.rstrip()
        for line in section.lines:
            yield from _wrapped(line, 0, " ", width, colour)
        return
    names = max(len(safe(line.name)) for line in section.lines)
    for line in section.lines:
        for row in _wrapped(line, min(names, _LONGEST_NAME), " " * _TITLE, width, colour):
            yield title + row[_TITLE:]
            title = " " * _TITLE


def _wrapped(line: Line, names: int, indent: str, width: int, colour: bool) -> Iterator[str]:
    state = safe(line.state).upper() if line.tone == "bad" else safe(line.state)
    name = f"{safe(line.name):<{names}}  " if names else f"{safe(line.name)} " if line.name else ""
    said = safe(line.text) if not state or not line.text else f", {safe(line.text)}"
    hanging = indent + " " * (names + 2 if names else 2)
    rows = textwrap.wrap(f"{indent}{name}{state}{said}", width, subsequent_indent=hanging, break_on_hyphens=False)
    at = len(indent) + len(name)
    for i, row in enumerate(rows):
        whole = i == 0 and state and row[at : at + len(state)] == state
        yield row[:at] + paint(state, line.tone, colour) + row[at + len(state) :] if whole else row
