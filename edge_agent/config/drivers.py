"""Which configuration type belongs to the kind of a source or an actuator."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

import msgspec
import msgspec.inspect as mi

from edge_agent.config.nearest import did_you_mean
from edge_agent.config.problems import KeyPath, listed, shown
from edge_agent.config.report import Report
from edge_agent.config.site import ActuatorConfig, SourceConfig
from edge_agent.errors import EdgeError

Drivers = Mapping[tuple[str, str], type[msgspec.Struct]]
"""`("source", "camera")` to the driver's `Config`. Looking a key up may import the driver, listing the keys must not.
A look-up may raise EdgeError or ImportError where the driver cannot be used on this box. A `Config` whose driver
needs a library of an extra names both as `library`, and can itself be read without."""

DRIVEN: Final[Mapping[type, str]] = {SourceConfig: "source", ActuatorConfig: "actuator"}
"""The types whose `driver` is filled from the keys that they do not know themselves."""


def driver_type(family: str, kind: object, path: KeyPath, drivers: Drivers, report: Report) -> mi.StructType | None:
    """The type of the driver's `Config`, or None; the report is told why it is none, or cannot be used here."""
    if not isinstance(kind, str):
        return None  # missing or not a text: the walk says so
    kinds = sorted(name for of, name in drivers if of == family)
    if kind not in kinds:
        hint = did_you_mean(kind, kinds, f"known kinds: {listed(kinds)}")
        report.add((*path, "kind"), f"unknown {family} kind {shown(kind)}", hint)
        return None
    try:
        config = drivers[family, kind]
    except EdgeError as e:
        report.add((*path, "kind"), f"kind {shown(kind)} cannot be used here: {e.message}", e.hint)
    except ImportError as e:
        reason = f"kind {shown(kind)} cannot be used here: {e.name or 'a library'} cannot be imported"
        report.add((*path, "kind"), reason, "install the extra that has it, or remove this " + family)
    else:
        of = mi.type_info(config)
        assert isinstance(of, mi.StructType), f"the Config of {kind} is not a msgspec.Struct"
        module, extra = getattr(config, "library", ("", ""))
        if module and find_spec(module) is None:
            reason = f"kind {shown(kind)} cannot be used here: {module} is not installed"
            report.add((*path, "kind"), reason, f"pip install 'edge-agent[{extra}]'")
        return of
    return None
