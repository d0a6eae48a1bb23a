"""From an MQTT message to a reading: which stream by its topic, which fields by their paths. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Name
from edge_agent.errors import Rejected
from edge_agent.links import strict_json
from edge_agent.ports import FieldSpec
from edge_agent.sources import json_paths
from edge_agent.sources.line_readings import RESERVED_STREAMS
from edge_agent.sources.scalars import MAX_TEXT, Names, is_name, scalar, settle
from edge_agent.types import Quality, Reading, Stamp

MAX_STREAMS = 256
_OPC_GOOD, _OPC_UNCERTAIN = 192, 64


class TopicMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[source.topics]]`: one topic filter and what its messages mean."""

    filter: Annotated[str, Meta(min_length=1, max_length=256)]
    """MQTT topic filter, such as `zigbee2mqtt/+`."""
    stream: Name | None = None
    """Where the readings go; default: the source's name."""
    stream_level: Annotated[int, Meta(ge=1, le=32)] | None = None
    """Instead: the topic's level, from 1, that names the stream: 2 in `zigbee2mqtt/kitchen`."""
    streams: dict[Name, str] = {}
    """With stream_level: our name for what stands there, as in { kitchen = "Kitchen Sensor" }; others are refused."""
    payload: Literal["json", "text"] = "json"
    """`text`: the whole payload is one value, typed as the site's `fields` say."""
    fields: dict[Name, str] = {}
    """Field: path in the JSON (`temperature`, `/DB1/temp`, `/values/id=Press.Temp/v`, empty for the whole payload).
    Empty: all top-level numbers, booleans and texts with well-formed names."""
    quality: dict[Name, str] = {}
    """Field: path of its quality: true, "good" or OPC 192 and above; "uncertain" or 64 and above; else bad."""

    def __post_init__(self) -> None:
        if (problem := filter_problem(self.filter)) is not None:
            raise ValueError(problem)
        if self.stream is not None and self.stream_level is not None:
            raise ValueError("give `stream` or `stream_level`, not both")
        if self.payload == "text" and list(self.fields.values()) != [""]:
            raise ValueError('a text payload is one field: fields = { level = "" }')


def filter_problem(text: str) -> str | None:
    """Why a topic filter is none (MQTT 5.0 section 4.7), or None."""
    levels = text.split("/")
    if "\0" in text:
        return "a topic filter has no NUL"
    if any(("#" in level or "+" in level) and len(level) > 1 for level in levels):
        return "in a topic filter + and # stand alone between slashes"
    if "#" in levels[:-1]:
        return "in a topic filter # comes last"
    return None


def matches(filter_levels: list[str], topic: str) -> bool:
    """Whether a topic belongs to a filter, split at its slashes."""
    levels = topic.split("/")
    if topic.startswith("$") and filter_levels[0] in ("+", "#"):
        return False
    for i, wanted in enumerate(filter_levels):
        if wanted == "#":
            return True
        if i >= len(levels) or wanted not in ("+", levels[i]):
            return False
    return len(levels) == len(filter_levels)


class TopicReader:
    """One TopicMap, ready for use."""

    def __init__(self, spec: TopicMap, name: str, specs: Mapping[str, FieldSpec]) -> None:
        self.levels = spec.filter.split("/")
        self._spec = spec
        self._name = name
        self._specs = specs
        self._fields = {field: json_paths.parse(path) for field, path in spec.fields.items()}
        self._quality = {field: json_paths.parse(path) for field, path in spec.quality.items()}
        self._streams = {theirs: ours for ours, theirs in spec.streams.items()}
        self._names = Names()

    def reading(self, topic: str, body: bytes, stamp: Stamp) -> Reading:
        """Raises Rejected for a message that carries nothing usable, with the counter's name as its message."""
        stream = self._stream(topic)
        document = self._document(body)
        values = self._picked(document) if self._fields else _scalars(document)
        if not values:
            raise Rejected("no_value", item=body)
        self._names.check(values)
        quality = settle(values) or {}
        for field, steps in self._quality.items():
            if field in values and field not in quality and (q := _quality(json_paths.find(document, steps))):
                quality[field] = q
        return Reading(stream, stamp, values, quality or None)

    def _document(self, body: bytes) -> Any:
        if self._spec.payload == "json":
            try:
                return strict_json.loads(body, non_finite=True)
            except Rejected as e:
                raise Rejected("malformed", item=body) from e
        (field,) = self._fields
        try:
            return scalar(body[: 4 * MAX_TEXT + 4].decode("utf-8"), self._type(field))
        except ValueError as e:
            raise Rejected("malformed", item=body) from e

    def _picked(self, document: Any) -> dict[str, Any]:
        found = {field: json_paths.find(document, steps) for field, steps in self._fields.items()}
        return {field: value for field, value in found.items() if value is not json_paths.MISSING}

    def _stream(self, topic: str) -> str:
        if self._spec.stream_level is None:
            return self._spec.stream or self._name
        levels = topic.split("/")
        told = levels[self._spec.stream_level - 1] if len(levels) >= self._spec.stream_level else ""
        known = self._streams.get(told)
        if known is not None:
            return known
        unfit = not is_name(told) or told in RESERVED_STREAMS
        if self._spec.streams or unfit or len(self._streams) >= MAX_STREAMS:
            raise Rejected("unknown_stream", item=topic.encode())
        self._streams[told] = told
        return told

    def _type(self, field: str) -> str:
        spec = self._specs.get(f"{self._spec.stream}.{field}") or self._specs.get(field)
        return spec.type if spec is not None else "double"


def _scalars(document: Any) -> dict[str, Any]:
    """What a device tells at the top of its document; nested parts are its own business."""
    if not isinstance(document, dict):
        return {}
    return {k: v for k, v in document.items() if (v is None or isinstance(v, (int, float, str))) and is_name(k)}


def _quality(told: Any) -> Quality:
    if told is True or (isinstance(told, str) and told.lower() == "good"):
        return Quality.GOOD
    if isinstance(told, str) and told.lower() == "uncertain":
        return Quality.UNCERTAIN
    if isinstance(told, int) and not isinstance(told, bool):
        return Quality.GOOD if told >= _OPC_GOOD else Quality.UNCERTAIN if told >= _OPC_UNCERTAIN else Quality.BAD
    return Quality.BAD
