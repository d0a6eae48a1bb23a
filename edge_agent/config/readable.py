"""A site as far as it could be read: what came out well is checked further, beside what is wrong elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import fields, replace

from edge_agent.config.document import Document
from edge_agent.config.names import elements, head
from edge_agent.config.problems import KeyPath
from edge_agent.config.references import FieldsOf
from edge_agent.config.site import (
    ActuatorConfig,
    AgentConfig,
    McuConfig,
    ModelConfig,
    RuleConfig,
    SignalConfig,
    SiteConfig,
    SourceConfig,
)

_TABLES: Mapping[str, type[Any]] = {
    "source": SourceConfig, "signal": SignalConfig, "model": ModelConfig, "rule": RuleConfig,
    "actuator": ActuatorConfig, "mcu": McuConfig,
}  # fmt: skip
_EXPRESSIONS = ("when", "clear", "otherwise")
_RULE_KEYS = {key.encode_name for key in fields(RuleConfig)}


@dataclass(frozen=True, slots=True)
class Readable:
    """`config` has the elements that are well, and of other rules the expressions. `kept`: which of the file's
    elements each is, by table."""

    config: SiteConfig = field(repr=False)
    kept: Mapping[str, tuple[int, ...]]
    more: bool = False
    """Whether there may be signals that could not be read…"""
    known: frozenset[str] = frozenset()
    """…but none with one of these before the dot, beside the [[signal]]s that have a name."""
    halves: frozenset[int] = frozenset()
    """The rules of which something could not be read: only what their expressions say can be judged."""

    def doubts(self, name: str) -> bool:
        """Whether `name`, which is no signal, would perhaps be one if what is wrong were corrected."""
        return self.more and head(name) not in self.known


def readable(
    config: object, document: Document, built: Mapping[KeyPath, object], fields_of: FieldsOf | None
) -> Readable:
    """`config` is a SiteConfig where all tables are well."""
    well = {table: _well(document.tables, table, built) for table in _TABLES}
    whole = isinstance(config, SiteConfig)
    if not isinstance(config, SiteConfig):
        agent = built.get(("agent",))
        config = SiteConfig(agent=agent if isinstance(agent, AgentConfig) else AgentConfig(gateway="default"))
        config = replace(config, **{table: tuple(found.values()) for table, found in well.items()})
    kept = {table: tuple(found) for table, found in well.items()}
    whole_rules = _whole_rules(document, built)
    halves = frozenset(n for n, i in enumerate(kept["rule"]) if i not in whole_rules)
    if whole and not document.faults:
        return Readable(config, kept, halves=halves)
    # what could not be read at all may hold any name
    if document.faults or not _all_named(document.tables.get("signal", [])):
        return Readable(config, kept, more=True, halves=halves)
    more = not all(_all_well(document.tables, table, well) for table in _TABLES if table != "rule")
    return Readable(config, kept, more, _heads(config, fields_of), halves)


def _well(tables: Mapping[str, object], table: str, built: Mapping[KeyPath, object]) -> dict[int, Any]:
    found = {}
    for path, element in elements(tables, table):
        made = built.get(path)
        if not isinstance(made, _TABLES[table]):
            made = _expressions(element) if table == "rule" else None
        if made is not None:
            found[int(path[1])] = made
    return found


def _whole_rules(document: Document, built: Mapping[KeyPath, object]) -> set[object]:
    damaged = {path[:2] for path in document.damaged}
    return {
        path[1]
        for path, rule in elements(document.tables, "rule")
        if path not in damaged and rule.keys() <= _RULE_KEYS and isinstance(built.get(path), RuleConfig)
    }


def _expressions(rule: Mapping[str, object]) -> RuleConfig | None:
    """A rule with nothing but what it compares, where that is text."""
    texts = {key: rule[key] for key in _EXPRESSIONS if key in rule}
    if "when" not in texts or not all(isinstance(text, str) for text in texts.values()):
        return None
    return RuleConfig(id=str(rule.get("id")), **texts)  # type: ignore[arg-type]


def _all_named(signals: object) -> bool:
    return isinstance(signals, list) and all(isinstance(s, dict) and isinstance(s.get("name"), str) for s in signals)


def _all_well(tables: Mapping[str, object], table: str, well: Mapping[str, Mapping[int, object]]) -> bool:
    given = tables.get(table, [])
    return isinstance(given, list) and len(given) == len(well[table])


def _heads(config: SiteConfig, fields_of: FieldsOf | None) -> frozenset[str]:
    heads = {source.name for source in config.source} | {model.name for model in config.model}
    for source in config.source:
        heads |= {head(path) for path in (fields_of(source) if fields_of else source.fields) if "." in path}
    return frozenset(heads)
