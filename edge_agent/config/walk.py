"""Tables to frozen configuration: a walk over the msgspec types that goes on after a mistake, so that all are found.

msgspec's own decoder stops at its first error and knows no lines. What the walk builds has passed every
constraint of the types, so the structs are made by their constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from edge_agent.config import leaves
from edge_agent.config.document import Document
from edge_agent.config.drivers import DRIVEN, Drivers, driver_type
from edge_agent.config.leaves import Misfit
from edge_agent.config.nearest import did_you_mean
from edge_agent.config.problems import KeyPath, bare, listed
from edge_agent.config.redact import is_secret_key, redact
from edge_agent.config.report import Report
from edge_agent.config.wording import advice, expected, found, takes

_BAD: Final = object()


class Walk:
    """One walk over one document. `built` holds every struct that came out well, by its path."""

    def __init__(self, document: Document, drivers: Drivers, report: Report, folder: Path) -> None:
        """`folder` is the site file's: relative files are meant to be there."""
        self.built: dict[KeyPath, msgspec.Struct] = {}
        self._folder = folder
        self._document = document
        self._drivers = drivers
        self._report = report

    def build(self, of: type[msgspec.Struct]) -> msgspec.Struct | None:
        """The whole document as `of`, or None; then the report says why."""
        config = self.value(self._document.tables, mi.type_info(of), ())
        return config if isinstance(config, msgspec.Struct) else None

    def value(self, value: object, of: mi.Type, path: KeyPath) -> object:
        """`value` as `of`, or _BAD after the report was told."""
        step = _STEPS.get(type(of))
        if step is None:
            raise TypeError(f"a configuration type cannot have a field of type {of!r}")
        try:
            return step(self, value, of, path)
        except Misfit as e:
            self._report.add(path, *self._say(e, value, of, path))
            return _BAD

    def described(self, value: object, of: mi.Metadata, path: KeyPath) -> object:
        """A type with a description: for durations with the shortest and the longest that make sense, for files with
        the word that they may be relative."""
        if not isinstance(of.type, mi.StrType):
            return self.value(value, of.type, path)
        text = leaves.text(value, of.type)
        extra = of.extra or {}
        if "shortest" in extra:
            return leaves.duration(text, extra)
        return str(self._folder / text) if text and "relative" in extra else text

    def union(self, value: object, of: mi.UnionType, path: KeyPath) -> object:
        members = [member for member in of.types if takes(member, type(value))]
        choices = [one for member in members if isinstance(member, mi.LiteralType) for one in member.values]
        if len(members) > 1 and choices:
            others = [member for member in members if not isinstance(member, mi.LiteralType)]
            members = [mi.LiteralType(tuple(choices)), *others]
        if not members:
            raise Misfit
        # of `float | int` a whole number is an int: 0 and 0.0 are not the same to a relay
        closest = next((member for member in members if isinstance(member, mi.IntType)), members[0])
        return self.value(value, closest, path)

    def struct(self, value: object, of: mi.StructType, path: KeyPath) -> object:
        if not isinstance(value, dict):
            raise Misfit
        if of.cls in DRIVEN:
            return self._driven(value, of, path)
        self._unknown(value, of.fields, path)
        return self._make(of, self._fields(value, of.fields, path), path)

    def sequence(self, value: object, of: mi.VarTupleType | mi.ListType, path: KeyPath) -> object:
        if not isinstance(value, list):
            raise Misfit
        if len(value) < (of.min_length or 0) or (of.max_length is not None and len(value) > of.max_length):
            raise Misfit(f"must be {expected(of)}, found {len(value)}")
        values = [self.value(item, of.item_type, (*path, i)) for i, item in enumerate(value)]
        if any(item is _BAD for item in values):
            return _BAD
        return tuple(values) if isinstance(of, mi.VarTupleType) else values

    def mapping(self, value: object, of: mi.DictType, path: KeyPath) -> object:
        if not isinstance(value, dict):
            raise Misfit
        values = {}
        for key, item in value.items():
            values[self.value(key, of.key_type, (*path, key))] = self.value(item, of.value_type, (*path, key))
        return _BAD if _BAD in values or any(item is _BAD for item in values.values()) else values

    def _driven(self, table: Mapping[str, object], of: mi.StructType, path: KeyPath) -> object:
        """The keys that the type does not know are those of the driver."""
        own = [field for field in of.fields if field.name != "driver"]
        values = self._fields(table, own, path)
        driver = driver_type(DRIVEN[of.cls], table.get("kind"), path, self._drivers, self._report)
        if driver is None:
            self._misspelt(table, own, path)
            return _BAD
        self._unknown(table, (*own, *driver.fields), path)
        values["driver"] = self._make(driver, self._fields(table, driver.fields, path), path)
        return self._make(of, values, path)

    def _fields(self, table: Mapping[str, object], fields: Iterable[mi.Field], path: KeyPath) -> dict[str, object]:
        """By the names of the constructor; _BAD for what is wrong or missing."""
        values: dict[str, object] = {}
        for field in fields:
            key = field.encode_name
            if key in table:
                values[field.name] = self.value(table[key], field.type, (*path, key))
            elif field.required:
                self._missing(field, (*path, key))
                values[field.name] = _BAD
        return values

    def _make(self, of: mi.StructType, values: Mapping[str, object], path: KeyPath) -> object:
        if any(value is _BAD for value in values.values()):
            return _BAD
        try:
            made: msgspec.Struct = of.cls(**values)
        except (TypeError, ValueError) as e:
            # what the `__post_init__` of a driver's own type refuses
            raise Misfit(redact(str(e))) from e
        self.built[path] = made
        return made

    def _missing(self, field: mi.Field, path: KeyPath) -> None:
        if not self._document.whole or path in self._document.damaged:
            return
        key = bare(field.encode_name)
        hint = f"add [{key}]" if takes(field.type, dict) else f"add {key} = …, {expected(field.type)}"
        self._report.add(path, "is missing", hint)

    def _unknown(self, table: Mapping[str, object], fields: Sequence[mi.Field], path: KeyPath) -> None:
        known = sorted(field.encode_name for field in fields)
        for key, value in table.items():
            # a secret is refused in words of its own
            if key not in known and (not is_secret_key(key) or isinstance(value, dict | list)):
                hint = partial(did_you_mean, key, known, f"known here: {listed(known)}")
                self._report.add((*path, key), "unknown key", hint)

    def _misspelt(self, table: Mapping[str, object], fields: Iterable[mi.Field], path: KeyPath) -> None:
        """Without a driver most keys cannot be judged, but those that stand for one that is needed and missing."""
        missing = [field.encode_name for field in fields if field.required and field.encode_name not in table]
        for key in table:
            if hint := did_you_mean(key, missing):
                self._report.add((*path, key), "unknown key", hint)

    def _say(self, misfit: Misfit, value: object, of: mi.Type, path: KeyPath) -> tuple[str, str]:
        if misfit.reason:
            return misfit.reason, misfit.hint
        if any(isinstance(part, str) and is_secret_key(part) for part in path):
            return f"must be {expected(of)}", ""
        hint = advice(value, of, path[-1] if path else "", self._report.places.raw(path))
        return f"must be {expected(of)}, found {found(value)}", hint


_STEPS: Final[Mapping[type, Callable[[Walk, object, Any, KeyPath], object]]] = {
    mi.Metadata: Walk.described,
    mi.UnionType: Walk.union,
    mi.StructType: Walk.struct,
    mi.VarTupleType: Walk.sequence,
    mi.ListType: Walk.sequence,
    mi.DictType: Walk.mapping,
    mi.StrType: lambda _walk, value, of, _path: leaves.text(value, of),
    mi.IntType: lambda _walk, value, of, _path: leaves.number(value, of),
    mi.FloatType: lambda _walk, value, of, _path: leaves.number(value, of),
    mi.BoolType: lambda _walk, value, of, _path: leaves.truth(value, of),
    mi.LiteralType: lambda _walk, value, of, _path: leaves.choice(value, of),
}
