"""JSON Schema 2020-12 of a site file with the drivers of this installation, for editors and for generated files.

It says what the types say. What only the loader checks (names that must exist, paths, ranges of durations) it
cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edge_agent.config.drivers import DRIVEN, Drivers
from edge_agent.config.site import SiteConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_Schema = dict[str, Any]


def site_schema(drivers: Drivers) -> _Schema:
    """The schema of the whole file. Looks up, and so imports, every driver; raises what a look-up raises."""
    kinds = sorted(drivers)
    types: Sequence[type] = [SiteConfig, *(drivers[kind] for kind in kinds)]
    (site, *configs), found = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    definitions: dict[str, _Schema] = dict(found)
    bodies = {kind: definitions[_name(config)] for kind, config in zip(kinds, configs, strict=True)}
    for of, family in DRIVEN.items():
        shared = definitions.pop(of.__name__)
        names = []
        for (its_family, kind), body in bodies.items():
            if its_family == family:
                names.append(f"{of.__name__}.{kind}")
                definitions[names[-1]] = _element(shared, body, kind)
        definitions[of.__name__] = _by_kind(names)
    for config in configs:
        definitions.pop(_name(config), None)
    definitions.pop("Struct", None)
    return {"$schema": DIALECT, "title": "Edge Agent site file", **_plain(site), "$defs": _plain(definitions)}


def _element(shared: _Schema, body: _Schema, kind: str) -> _Schema:
    """One element of `[[source]]` or `[[actuator]]`: the shared keys and those of its driver, side by side."""
    properties = {key: value for key, value in shared["properties"].items() if key != "driver"}
    required = [key for key in (*shared["required"], *body["required"]) if key != "driver"]
    return {
        "title": kind,
        "description": body.get("description", ""),
        "type": "object",
        "properties": {**properties, **body["properties"], "kind": {"const": kind}},
        "required": list(dict.fromkeys(required)),
        "additionalProperties": False,
    }


def _by_kind(names: Sequence[str]) -> _Schema:
    """An element of one of these definitions, told apart by `kind`; of none where there is no driver."""
    if not names:
        return {"not": {}}
    return {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in names]}


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix("#/$defs/")


def _plain(value: Any) -> Any:
    """Without the tuples that msgspec leaves for defaults."""
    return msgspec.to_builtins(value)
