"""What a driver is given at `open`: ports.Context."""

from __future__ import annotations

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
