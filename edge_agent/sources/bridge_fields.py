"""What a bridge device's hello says of its streams, as fields of one source; and whether the site agrees. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_agent.ports import FieldSpec
from firmware_bridge.events import Device
from firmware_bridge.messages import Stream, ValueType

_TYPES = {ValueType.BOOL: "bool", ValueType.I32: "int", ValueType.U32: "int", ValueType.F32: "double"}
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_]")


@dataclass(frozen=True, slots=True)
class BridgeFields:
    """`names[i]` is the field of the device's stream i, empty where that cannot be used."""

    names: tuple[str, ...]
    specs: dict[str, FieldSpec]
    refused: tuple[str, ...]
    """Why streams cannot be used."""
    disputed: dict[str, str]
    """Fields of which site file and device say different things, and what."""


def fields_of(device: Device, declared: dict[str, FieldSpec]) -> BridgeFields:
    """Names are the device's, in lower case and with `_` for what a field's name cannot have."""
    names: list[str] = []
    specs: dict[str, FieldSpec] = {}
    refused = list(device.refused)
    for stream in device.streams:
        name = _NOT_IN_A_NAME.sub("_", stream.name.lower()) if stream else ""
        if stream and name in specs:
            refused.append(f"stream {stream.name}: there is another that is called {name}")
            name = ""
        elif stream:
            specs[name] = _spec(stream)
        names.append(name)
    disputed = {name: reason for name, spec in declared.items() if (reason := _dispute(specs.get(name), spec))}
    return BridgeFields(tuple(names), specs, tuple(refused), disputed)


def _spec(stream: Stream) -> FieldSpec:
    return FieldSpec(unit=stream.unit, type=_TYPES[stream.type], min=float(stream.min), max=float(stream.max))


def _dispute(told: FieldSpec | None, declared: FieldSpec) -> str:
    """Empty where they agree; a site that names no unit takes the device's."""
    if told is None:
        return "the device has no such stream"
    if declared.unit and declared.unit != told.unit:
        return f"the site file says {declared.unit}, the device {told.unit or 'no unit'}"
    if declared.type != told.type and (declared.type, told.type) != ("double", "int"):
        return f"the site file says {declared.type}, the device {told.type}"
    return ""
