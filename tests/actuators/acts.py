"""Actions as the engine hands them out."""

from edge_agent.clock import SystemClock
from edge_agent.types import Act

CLOCK = SystemClock()


def act(number, target="relay", value=1, actuator="press"):
    return Act(number, actuator, target, value, "rule", CLOCK.now())
