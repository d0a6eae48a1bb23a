"""What one part of a site says about another: a window its field, a model its input, an action its actuator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from edge_agent.config.names import RESERVED, elements, head, names
from edge_agent.config.nearest import did_you_mean, nearest
from edge_agent.config.problems import KeyPath, listed, shown
from edge_agent.config.report import Report
from edge_agent.config.site import SourceConfig
from edge_agent.ports import FieldSpec

FieldsOf = Callable[[SourceConfig], Mapping[str, FieldSpec]]
"""All fields of a source, its driver's and the site's, by `field` or `stream.field`; none where they cannot be known
before it runs."""

_CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Known:
    """The names of a site. `fields` are those that are known, `open` what may have more."""

    sources: Mapping[str, KeyPath]
    cameras: frozenset[str]
    fields: frozenset[str]
    open: frozenset[str]
    signals: Mapping[str, KeyPath]
    models: Mapping[str, KeyPath]


def known_names(
    tables: Mapping[str, object], built: Mapping[KeyPath, object], fields_of: FieldsOf | None
) -> Known:
    """A source that could not be built, or whose fields nobody knows, is open."""
    fields: set[str] = set()
    cameras: set[str] = set()
    opened: set[str] = set()
    for path, element in elements(tables, "source"):
        name, source = element.get("name"), built.get(path)
        if not isinstance(name, str):
            continue
        if element.get("kind") == _CAMERA:
            cameras.add(name)
        specs = element.get("fields")
        specs = specs if isinstance(specs, dict) else {}
        if fields_of is not None and isinstance(source, SourceConfig):
            specs = {**specs, **fields_of(source)}
        full = {key if "." in key else f"{name}.{key}" for key in specs}
        fields |= full
        if fields_of is None or not isinstance(source, SourceConfig) or not specs:
            opened |= {name, *map(head, full)}
    return Known(
        names(tables, "source"), frozenset(cameras), frozenset(fields), frozenset(opened),
        names(tables, "signal"), names(tables, "model"),
    )  # fmt: skip


def check_references(tables: Mapping[str, object], known: Known, report: Report) -> None:
    """Each problem once, with the nearest known name."""
    full, heads = {*known.fields, *known.signals}, {*known.open, *known.models} - known.cameras
    for path, element in elements(tables, "signal"):
        of = element.get("of")
        if isinstance(of, str) and head(of) in known.cameras and of not in known.fields:
            reason = f"source {shown(head(of))} gives frames, not readings"
            report.add((*path, "of"), reason, "name the output of a model that looks at them")
        elif isinstance(of, str) and not _gives_signal(of, known):
            report.add((*path, "of"), f"names nothing: {shown(of)}", partial(_signal_hint, of, full, heads))
    for path, element in elements(tables, "model"):
        _check_input(element.get("input"), (*path, "input"), known, report)
    actuators = names(tables, "actuator")
    for path, element in elements(tables, "rule"):
        actions = element.get("actions")
        for i, action in enumerate(actions if isinstance(actions, list) else ()):
            target = action.get("set") if isinstance(action, dict) else None
            if isinstance(target, str):
                _check_target(target, (*path, "actions", i, "set"), actuators, report)
    for path, element in elements(tables, "mcu"):
        owner = element.get("source")
        if isinstance(owner, str) and owner not in known.sources:
            otherwise = _sources(known.sources)
            hint = partial(did_you_mean, owner, known.sources, otherwise)
            report.add((*path, "source"), f"there is no source {shown(owner)}", hint)
    _check_cycles(tables, report)


def _gives_signal(name: str, known: Known) -> bool:
    first = head(name)
    return (
        name in known.fields
        or name in known.signals
        or first in RESERVED
        or first in known.models
        or (first in known.open and first not in known.cameras)
    )


def _signal_hint(name: str, full: Iterable[str], heads: Iterable[str]) -> str:
    """The nearest name of `full`; failing that the nearest of `heads`, which may have a field of that name."""
    source = head(name)
    if beside := sorted(field.removeprefix(f"{source}.") for field in full if head(field) == source):
        # the source is right: only its fields are compared, or every short name would resemble the next
        close = nearest(name.removeprefix(f"{source}."), beside)
        declared = f"declare it in the fields of {shown(source)}; known: {listed(beside)}"
        return f"did you mean {shown(f'{source}.{close}')}?" if close else declared
    near = nearest(source, heads)
    close = nearest(name, full) or (near and near + name.removeprefix(source))
    if close and close != name:
        return f"did you mean {shown(close)}?"
    known = sorted({*heads, *map(head, full)})
    return f"known before the dot: {listed(known)}" if known else "add a source"


def _check_input(given: object, path: KeyPath, known: Known, report: Report) -> None:
    if isinstance(given, str):
        _check_frames(given, path, known, report)
    elif isinstance(given, list):
        _check_window(given, path, known, report)


def _check_frames(name: str, path: KeyPath, known: Known, report: Report) -> None:
    if name not in known.sources:
        if "." in name:
            report.add(path, f"{shown(name)} is a field: a window is a list", f'write input = ["{name}"]')
            return
        candidates = known.cameras or known.sources
        hint = partial(did_you_mean, name, candidates, _sources(candidates))
        report.add(path, f"there is no source {shown(name)}", hint)
    elif name not in known.cameras and (given := sorted(field for field in known.fields if head(field) == name)):
        example = f'for a window write input = ["{given[0]}"]'
        report.add(path, f"source {shown(name)} gives readings, not frames", example)


def _check_window(given: Iterable[object], path: KeyPath, known: Known, report: Report) -> None:
    fields = [name for name in given if isinstance(name, str)]
    if not fields:
        report.add(path, "is empty", "name at least one field, or a camera")
    first_use = {name: i for i, name in reversed(list(enumerate(fields)))}
    for i, name in enumerate(fields):
        first = head(name)
        if name in known.signals or first in known.models or first in RESERVED:
            report.add((*path, i), f"{shown(name)} is no field of a source", "a window is made of readings")
        elif first in known.cameras and name not in known.fields:
            report.add((*path, i), f"source {shown(first)} gives frames, not readings", f'write input = "{first}"')
        elif not _gives_signal(name, known):
            hint = partial(_signal_hint, name, known.fields, known.open - known.cameras)
            report.add((*path, i), f"names nothing: {shown(name)}", hint)
        elif first_use[name] != i:
            report.add((*path, i), f"{shown(name)} is named twice", "name each field once")
    streams = dict.fromkeys(name.rpartition(".")[0] for name in fields)
    if len(streams) > 1:
        report.add(path, f"takes fields of several streams: {listed(list(streams))}", "use one model for each stream")


def _check_target(target: str, path: KeyPath, actuators: Mapping[str, KeyPath], report: Report) -> None:
    name, dot, _ = target.partition(".")
    if dot and name not in actuators:
        otherwise = f"known: {listed(list(actuators))}" if actuators else "add an [[actuator]]"
        hint = partial(did_you_mean, name, actuators, otherwise)
        report.add(path, f"there is no actuator {shown(name)}", hint)


def _check_cycles(tables: Mapping[str, object], report: Report) -> None:
    """Each circle of windows once, at its first member in the file."""
    of: dict[str, str] = {}
    for _, element in elements(tables, "signal"):
        name, below = element.get("name"), element.get("of")
        if isinstance(name, str) and isinstance(below, str):
            of.setdefault(name, below)
    settled: set[str] = set()
    paths = names(tables, "signal")
    for start in of:
        chain: dict[str, None] = {}
        name = start
        while name in of and name not in settled and name not in chain:
            chain[name] = None
            name = of[name]
        if name in chain:
            circle = list(chain)[list(chain).index(name) :]
            reason = " → ".join(shown(member) for member in (*circle, name))
            report.add((*paths[name][:-1], "of"), f"depends on itself: {reason}", "let one of them look at a field")
        settled |= set(chain)


def _sources(names_of: Iterable[str]) -> str:
    known = sorted(names_of)
    return f"known: {listed(known)}" if known else "add a [[source]]"
