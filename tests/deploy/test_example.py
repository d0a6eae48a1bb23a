"""deploy/site.example.toml: it works as it stands, and every key that a site file may have is in it, explained.

Its notation, which these tests rely on: `# text` explains, `#key = value` is a key that is commented out, with its
default or an example, `#or key = value` an alternative to the key above.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi
import pytest

from deploy.unit import DEPLOY
from edge_agent.assembly import MODELS_DIR, assemble, fields_of
from edge_agent.config.document import parse_document
from edge_agent.config.drivers import DRIVEN
from edge_agent.config.load import Examined, examine_site
from edge_agent.config.problems import KeyPath
from edge_agent.config.redact import is_secret_key
from edge_agent.config.schema import site_schema
from edge_agent.config.site import SiteConfig
from edge_agent.drivers import DriverConfigs

EXAMPLE = DEPLOY / "site.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
DRIVERS = DriverConfigs()

COMPLETE = re.sub(r"^#(?!or )(?=\S)", "", TEXT, flags=re.MULTILINE)
"""With every key set that is commented out."""
ALL_KEYS = re.sub(r"^#(?:or )?(?=\S)", "", TEXT, flags=re.MULTILINE)
"""With the alternatives as well: TOML, but no site."""

EMPTY = (None, "", (), {}, [])


def examine(path: Path) -> Examined:
    return examine_site(path, DRIVERS, models_dir=MODELS_DIR, fields_of=fields_of)


def test_the_example_has_no_problems():
    assert [str(problem) for problem in examine(EXAMPLE).problems] == []


def test_the_example_runs_with_the_projects_models_and_its_rules_compile():
    if not (MODELS_DIR / "meter-digits").is_dir() or not (MODELS_DIR / "motor-anomaly").is_dir():
        pytest.skip("no models/ in this installation")
    assert [str(problem) for problem in assemble(EXAMPLE).warnings] == []


def test_every_key_that_is_commented_out_can_be_set(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(COMPLETE, encoding="utf-8")
    examined = examine(path)
    assert [str(problem) for problem in examined.problems if problem.severity == "error"] == []
    assert examined.site is not None
    kinds = {("source", source.kind) for source in examined.site.config.source}
    kinds |= {("actuator", actuator.kind) for actuator in examined.site.config.actuator}
    assert kinds == set(DRIVERS), "a driver without an example"


def structs(of: mi.Type, value: Any, path: KeyPath) -> Iterator[tuple[mi.StructType, dict[str, Any], KeyPath]]:
    """Every table of a document with its type and its path."""
    match of:
        case mi.Metadata():
            yield from structs(of.type, value, path)
        case mi.UnionType():
            for member in of.types:
                yield from structs(member, value, path)
        case mi.VarTupleType() if isinstance(value, list):
            for i, item in enumerate(value):
                yield from structs(of.item_type, item, (*path, i))
        case mi.DictType() if isinstance(value, dict):
            for key, item in value.items():
                yield from structs(of.value_type, item, (*path, key))
        case mi.StructType() if isinstance(value, dict):
            yield of, value, path
            for field in of.fields:
                if field.encode_name in value:
                    yield from structs(field.type, value[field.encode_name], (*path, field.encode_name))
            if of.cls in DRIVEN:
                yield from structs(mi.type_info(DRIVERS[DRIVEN[of.cls], value["kind"]]), value, path)


def own_keys(of: mi.StructType) -> dict[str, mi.Field]:
    return {field.encode_name: field for field in of.fields if not (of.cls in DRIVEN and field.name == "driver")}


def by_type(text: str) -> dict[type, list[tuple[mi.StructType, dict[str, Any], KeyPath]]]:
    found: dict[type, list[tuple[mi.StructType, dict[str, Any], KeyPath]]] = {}
    for of, table, path in structs(mi.type_info(SiteConfig), tomllib.loads(text), ()):
        found.setdefault(of.cls, []).append((of, table, path))
    return found


def all_types() -> set[type]:
    """Every configuration type that a site file can hold."""

    def below(of: mi.Type) -> Iterator[type]:
        match of:
            case mi.Metadata():
                yield from below(of.type)
            case mi.UnionType():
                for member in of.types:
                    yield from below(member)
            case mi.VarTupleType():
                yield from below(of.item_type)
            case mi.DictType():
                yield from below(of.value_type)
            case mi.StructType() if of.cls is not msgspec.Struct:
                yield of.cls
                for field in of.fields:
                    yield from below(field.type)

    roots = [SiteConfig, *(DRIVERS[key] for key in DRIVERS)]
    return {cls for root in roots for cls in below(mi.type_info(root))}


def test_every_key_of_every_type_is_in_the_example():
    found = by_type(ALL_KEYS)
    missing = [cls.__module__ for cls in all_types() - set(found)]
    for cls, tables in found.items():
        keys = {key for _, table, _ in tables for key in table}
        missing += [f"{cls.__module__}.{cls.__qualname__}.{key}" for key in own_keys(tables[0][0]) if key not in keys]
    # an output is a register, of which a single bit cannot be written: the driver refuses that key
    assert [name for name in missing if not name.endswith("modbus.Output.bit")] == []


def test_every_key_is_explained_where_it_stands_or_just_above():
    lines = ALL_KEYS.split("\n")
    places = parse_document(ALL_KEYS).places
    unexplained = []
    for cls, tables in by_type(ALL_KEYS).items():
        for key in own_keys(tables[0][0]):
            at = [places.line(*path, key) for _, table, path in tables if key in table]
            if at and not any("# " in lines[line - 1] or _prose_above(lines, line) for line in at):
                unexplained.append(f"line {at[0]}: {cls.__qualname__}.{key}")
    assert unexplained == []


def _prose_above(lines: list[str], line: int) -> bool:
    """A comment right above; for a table the heading of its part of the file will do."""
    above = lines[line - 2]
    return above.startswith("# ") and (lines[line - 1].startswith("[") or not above.startswith("# ---"))


def test_a_default_that_is_commented_out_is_the_default():
    """Of the tables that are in force; those that are commented out as a whole are examples."""
    active = {_name(table, path): table for _, table, path in _flat(TEXT)}
    wrong = []
    for of, table, path in _flat(COMPLETE):
        in_force = active.get(_name(table, path))
        if in_force is None:
            continue
        for key, field in own_keys(of).items():
            has_default = field.default not in (*EMPTY, mi.NODEFAULT)
            if has_default and key in table and key not in in_force and table[key] != field.default:
                wrong.append(f"{path} {key}: {table[key]!r} is not {field.default!r}")
    assert wrong == []


def _flat(text: str) -> list[tuple[mi.StructType, dict[str, Any], KeyPath]]:
    return [entry for entries in by_type(text).values() for entry in entries]


def _name(table: Mapping[str, Any], path: KeyPath) -> tuple[object, ...]:
    """The same in both documents, although the complete one has more elements."""
    return tuple(table.get("name", table.get("id")) if isinstance(part, int) else part for part in path)


def test_the_example_is_valid_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (pip install jsonschema)")
    validator = jsonschema.Draft202012Validator(site_schema(DRIVERS))
    for text in (TEXT, COMPLETE):
        assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []


def test_no_driver_takes_a_key_that_all_sources_have_or_a_secret_in_the_file():
    for of, family in DRIVEN.items():
        shared = set(own_keys(mi.type_info(of)))
        for key, kind in DRIVERS:
            if key == family:
                theirs = {field.encode_name for field in mi.type_info(DRIVERS[key, kind]).fields}
                assert theirs.isdisjoint(shared), f"{family} {kind}: {theirs & shared}"
                assert not [name for name in theirs if is_secret_key(name)]
