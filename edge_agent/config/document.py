"""A TOML text to its tables, with places, and with every syntax error instead of the first only.

What tomllib refuses as a whole it is given again statement by statement, and then without the faulty ones, so that
the rest can still be checked.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

from edge_agent.config.places import Places, Twice
from edge_agent.config.problems import KeyPath, bare
from edge_agent.config.redact import is_secret_key
from edge_agent.config.statements import Limit, Statement, statements

# tomllib says the place only as part of its message (attributes came with Python 3.14)
_WHERE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_.:+/-]{1,24}")
_YAML = re.compile(r"%YAML|---|- |[A-Za-z0-9_-]+[ \t]*:(?:[ \t]|$)|\{")


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake of syntax, with what to type instead."""

    line: int
    column: int | None
    path: KeyPath
    reason: str
    hint: str


@dataclass(slots=True)
class Document:
    """What could be read. `damaged` are the keys and tables left out because of `faults`; `whole` is False where
    nothing sure can be said about what is missing."""

    places: Places
    tables: dict[str, object] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    damaged: set[KeyPath] = field(default_factory=set)
    whole: bool = True


def parse_document(text: str) -> Document:
    """Never raises for anything the text may hold."""
    document = Document(Places(text))
    found: list[tuple[Statement, KeyPath]] = []
    try:
        for statement in statements(text):
            found.append((statement, document.places.enter(statement) if statement.parts else ()))
    except Limit as e:
        line, column = document.places.at(e.at)
        document.faults.append(Fault(line, column, (), e.reason, "is it the right file?"))
        document.whole = False
        return document
    document.faults += [_twice(twice, document.places) for twice in document.places.twice]
    if not document.faults and _load(text, document) is None:
        return document
    _repair(text, found, document)
    return document


def _repair(text: str, found: list[tuple[Statement, KeyPath]], document: Document) -> None:
    """Leaves out every faulty statement, and what belongs to a faulty header, and reads the rest."""
    repeated = {id(twice.statement) for twice in document.places.twice}
    rest: list[str] = []
    at = 0
    skipping = False
    for statement, path in found:
        fault = None if id(statement) in repeated else _fault(text, statement, path, document.places)
        if fault is not None:
            document.faults.append(fault)
        faulty = fault is not None or id(statement) in repeated
        if statement.kind != "pair":
            skipping = faulty
        if faulty or skipping:
            document.damaged.add(path)
            document.whole = document.whole and statement.kind == "pair" and bool(path) and statement.open_at is None
            rest.append(text[at : statement.start] + "\n" * text.count("\n", statement.start, statement.end))
            at = statement.end
    error = _load("".join(rest) + text[at:], document)
    if error is not None:
        document.faults.append(error)
        document.whole = False
        document.tables = {}


def _load(text: str, document: Document) -> Fault | None:
    try:
        document.tables = tomllib.loads(text)
    except ValueError as e:
        reason, line, column = _reason(e)
        return Fault(line or text.count("\n") + 1, column, (), reason, "")
    return None


def _fault(text: str, statement: Statement, path: KeyPath, places: Places) -> Fault | None:
    """What tomllib has against this statement alone; a header cannot be judged without the others."""
    line_start = text.rfind("\n", 0, statement.start) + 1
    alone = text[line_start : statement.end]
    try:
        tomllib.loads(alone)
    except ValueError as e:
        reason, line, column = _reason(e)
    else:
        return None
    first = places.at(statement.start)[0]
    if statement.open_at is not None:
        opened = places.at(statement.open_at)
        thing, closing = _open(text, statement.open_at)
        return Fault(*opened, path, f"the {thing} that begins here is never closed", f"close it with {closing}")
    where = (first + line - 1, column) if line else (first, None)
    return Fault(*where, path, reason, _hint(text, statement))


def _open(text: str, at: int) -> tuple[str, str]:
    return ("list", "]") if text[at] == "[" else ("text", text[at : at + 3])


def _hint(text: str, statement: Statement) -> str:
    if statement.kind == "pair" and _YAML.match(text, statement.start):
        return "this looks like YAML or JSON; the site file is TOML: key = value"
    if statement.kind != "pair" or not statement.parts:
        return 'write [table], [[list]] or key = value, with text in "quotes"'
    key = statement.parts[-1]
    value = text[statement.spot.value : statement.spot.end]
    if is_secret_key(key) or not _BARE.fullmatch(value):
        return 'write text in "quotes"'
    return f'write text in quotes: {bare(key)} = "{value}"'


def _twice(twice: Twice, places: Places) -> Fault:
    line, column = places.at(twice.second.key)
    first, _ = places.at(twice.first.key)
    return Fault(line, column, twice.path, f"given twice, on line {first} and on line {line}", "keep one of the two")


def _reason(error: ValueError) -> tuple[str, int, int | None]:
    """Reason, line (0: at the end) and column of what tomllib says."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        # int() refuses numbers of more than 4,300 digits
        return "not TOML: a number is too long", 1, None
    message = str(error)
    match = _WHERE.search(message)
    if match is None:
        return f"not TOML: {message}", 1, None
    reason = f"not TOML: {message[: match.start()]}"
    return (reason, int(match[1]), int(match[2])) if match[1] else (f"{reason} at the end", 0, None)
