"""Names that must be unique in a site, and names that are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_agent.config.problems import KeyPath, shown
from edge_agent.config.report import Report

RESERVED = ("agent", "health", "store", "uplink")
"""The agent's own signals and parts: `agent.rung`, `health.<part>`, `health.store`."""

# sources and models give signals named after them; sources and actuators are parts that work or do not (`health.*`)
_SPACES = (("source", "model", "actuator"), ("signal",), ("rule",), ("mcu",))


def head(signal: str) -> str:
    """The first part of a signal's name: its stream, model, or the agent itself."""
    return signal.split(".", maxsplit=1)[0]


def elements(tables: Mapping[str, object], table: str) -> Iterator[tuple[KeyPath, Mapping[str, object]]]:
    """The `[[table]]`s of a document that may hold anything, with their paths."""
    found = tables.get(table)
    for i, element in enumerate(found if isinstance(found, list) else ()):
        if isinstance(element, dict):
            yield (table, i), element


def names(tables: Mapping[str, object], table: str) -> dict[str, KeyPath]:
    """Name to the key of its first use; also of those elements that are wrong otherwise."""
    key = "id" if table == "rule" else "name"
    found: dict[str, KeyPath] = {}
    for path, element in elements(tables, table):
        name = element.get(key)
        if isinstance(name, str):
            found.setdefault(name, (*path, key))
    return found


def check_names(tables: Mapping[str, object], report: Report) -> None:
    """Every name once, with both lines named where not; reserved names by nobody."""
    for space in _SPACES:
        taken: dict[str, KeyPath] = {}
        for table in space:
            key = "id" if table == "rule" else "name"
            for path, element in elements(tables, table):
                name = element.get(key)
                if isinstance(name, str):
                    _check_name(name, (*path, key), taken, report)


def _check_name(name: str, path: KeyPath, taken: dict[str, KeyPath], report: Report) -> None:
    first = taken.setdefault(name, path)
    if first != path:
        lines = f"on line {report.places.line(*first)} and on line {report.places.line(*path)}"
        kinds = f"{first[0]} and {path[0]}" if first[0] != path[0] else f"two {path[0]}s"
        report.add(path, f"{kinds} are named {shown(name)}, {lines}", "rename one of them")
    elif path[0] != "rule" and head(name) in RESERVED:
        report.add(path, f"{shown(head(name))} is the agent's own name", "choose another name")
