"""JSON Schema 2020-12 of each message shape, made from its type."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from edge_agent.contract import messages
from edge_agent.contract.channels import CHANNELS, all_shapes

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ONLY_HERE: dict[type, dict[str, Any]] = {
    messages.GapMessage: {"oneOf": [{"required": ["gap"]}, {"required": ["gaps"]}]},
}
"""What the types cannot say."""


def file_name(shape: str) -> str:
    """`tele-1.schema.json` of `tele/1`."""
    return f"{shape.replace('/', '-')}.schema.json"


def all_schemas() -> dict[str, dict[str, Any]]:
    """By name of the shape. Fields that a schema does not name are allowed: readers ignore them."""
    return {shape: _schema(shape, message) for shape, message in all_shapes().items()}


def _schema(shape: str, message: type[msgspec.Struct]) -> dict[str, Any]:
    (root,), found = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    definitions = _tidied(msgspec.to_builtins(found))
    body = definitions.pop(str(root["$ref"]).removeprefix("#/$defs/"))
    body["properties"]["schema"] = {"const": shape}
    about = f"{body.pop('description')}\n\n{_carriage(message)}"
    del body["title"]
    urn = f"urn:edge-agent:{shape.replace('/', ':')}"
    head = {"$schema": DIALECT, "$id": urn, "title": shape, "description": about}
    return {**head, **body, **_ONLY_HERE.get(message, {}), **({"$defs": definitions} if definitions else {})}


def _carriage(message: type[msgspec.Struct]) -> str:
    """Where it goes, in a sentence."""
    channel = next(c for c in CHANNELS if message in c.carries)
    sender = "gateway" if channel.direction == "up" else "backend"
    expiry = "" if channel.expiry_s is None else f", expires after {channel.expiry_s} s"
    retained = "retained" if channel.retain else "not retained"
    return f"Sent by the {sender} on {channel.suffix}: QoS 1, {retained}{expiry}. Key: {channel.key}."


def _tidied(value: Any) -> Any:
    """Docstrings without their indentation, whatever Python did with it; no defaults: what is absent is absent."""
    if isinstance(value, list):
        return [_tidied(v) for v in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, v in value.items():
        if key == "properties":
            out[key] = {name: _tidied(schema) for name, schema in v.items()}
        elif key != "default":
            out[key] = inspect.cleandoc(v) if key == "description" else _tidied(v)
    return _without_null(out) if "anyOf" in out and "default" in value and value["default"] is None else out


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A field whose absence stands for null is never sent as null."""
    choices = [s for s in schema["anyOf"] if s != {"type": "null"}]
    if len(choices) > 1:
        return {**schema, "anyOf": choices}
    return {**{k: v for k, v in schema.items() if k != "anyOf"}, **choices[0]}
