"""What a driver gets at `open`, from real parts: ports.Context."""

from dataclasses import dataclass, field
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.health import PartHealth
from edge_agent.links.registry import Links
from edge_agent.supervisor import MainSpawner


@dataclass
class DriverContext:
    name: str = "press"
    clock: Any = field(default_factory=SystemClock)
    counters: Any = None
    spawner: Any = field(default_factory=MainSpawner)
    links: Any = field(default_factory=Links)
    fields: dict = field(default_factory=dict)
    views: tuple = ()
    cursor: Any = None
    announced: dict = field(default_factory=dict)

    def announce(self, fields):
        self.announced = dict(fields)

    def __post_init__(self):
        self.counters = self.counters or PartHealth(self.name)
