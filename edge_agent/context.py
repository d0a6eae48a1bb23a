"""What a driver is given at `open`: ports.Context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_agent.links.registry import Links
from edge_agent.ports import Clock, Counters, FieldSpec, Spawner
from edge_agent.types import ImageView


@dataclass(frozen=True, slots=True)
class DriverContext:
    """ports.Context, for one source or actuator."""

    name: str
    clock: Clock
    counters: Counters
    spawner: Spawner
    links: Links
    fields: dict[str, FieldSpec] = field(default_factory=dict)
    views: tuple[ImageView, ...] = ()
    cursor: int | None = None
    on_announce: Callable[[str, Mapping[str, FieldSpec]], None] = lambda _name, _fields: None

    def announce(self, fields: Mapping[str, FieldSpec]) -> None:
        self.on_announce(self.name, fields)
