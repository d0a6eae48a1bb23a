"""What the engine believes of a lane: its trust, how fresh its last good output is, and the rung that follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge_agent.plan import TYPES, LanePlan
from edge_agent.rules.values import UNKNOWN, admit
from edge_agent.types import ModelRef, Prediction

FULL = "full"
LAST_GOOD = "last-good"
RULES_ONLY = "rules-only"


_INVALID = 3
"""So many inputs in a row without a valid output cost the trust; one alone may be the input's fault."""


class LaneState:
    """One lane. Trusted means: the worker serves (breaker closed) and its outputs are valid."""

    __slots__ = ("_invalid", "_served", "expiring", "fresh", "last_ns", "model", "plan")

    def __init__(self, plan: LanePlan) -> None:
        self.plan = plan
        self.model: ModelRef | None = None
        self.fresh = False
        self.last_ns = -1
        self.expiring = False
        self._served = "unavailable"
        self._invalid = 0

    @property
    def trust(self) -> str:
        return "degraded" if self._served == "trusted" and self._invalid >= _INVALID else self._served

    @property
    def withdrawn(self) -> bool:
        """Its last output must not be used any more. `unavailable` is not that: what it said last was good."""
        return self._served in ("degraded", "quarantined")

    def change(self, trust: str) -> None:
        self._served = trust
        if self.withdrawn:
            self.fresh = False

    def take(self, prediction: Prediction, now_ns: int) -> None:
        self.model = prediction.model
        self._invalid = 0 if prediction.valid else self._invalid + 1
        if prediction.valid:
            self.last_ns = max(self.last_ns, prediction.input_stamp.mono_ns)
        if prediction.answered:
            self.fresh = prediction.valid and self.stale_at() > now_ns

    def stale_at(self) -> int:
        return self.last_ns + self.plan.spec.stale_ns

    def admitted(self, name: str, prediction: Prediction) -> Any:
        """An output as rules may see it, UNKNOWN where it is not what the manifest promised."""
        value = prediction.outputs.get(name)
        return UNKNOWN if value is None else admit(value, TYPES[self.plan.spec.outputs[name]])


def rung_of(lanes: Iterable[LaneState]) -> str:
    """Where the agent stands on the degradation ladder."""
    poor = [lane for lane in lanes if lane.trust != "trusted"]
    if not poor:
        return FULL
    return LAST_GOOD if all(lane.fresh for lane in poor) else RULES_ONLY
