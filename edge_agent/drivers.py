"""Which drivers there are, found by file name; one is imported when a site names its kind."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import msgspec

import edge_agent.actuators
import edge_agent.sources

_PACKAGES = {"source": edge_agent.sources, "actuator": edge_agent.actuators}


def driver(family: str, kind: str) -> ModuleType:
    """The module `sources/<kind>.py` or `actuators/<kind>.py`. Raises ImportError."""
    return importlib.import_module(f"{_PACKAGES[family].__name__}.{kind}")


class DriverConfigs(Mapping[tuple[str, str], type[msgspec.Struct]]):
    """`("source", "camera")` to its `Config`. Listing reads the files and imports none of them."""

    def __init__(self) -> None:
        self._kinds = [
            (family, path.stem)
            for family, package in _PACKAGES.items()
            for folder in package.__path__
            for path in sorted(Path(folder).glob("*.py"))
            if _is_driver(path)
        ]

    def __getitem__(self, key: tuple[str, str]) -> type[msgspec.Struct]:
        if key not in self._kinds:
            raise KeyError(key)
        config: type[msgspec.Struct] = driver(*key).Config
        return config

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _is_driver(path: Path) -> bool:
    """It has what `ports` asks of a driver; the other files beside it are parts of drivers."""
    text = path.read_text(encoding="utf-8")
    return "\nclass Config(" in text and "\ndef open(" in text
