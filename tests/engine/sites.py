"""Small sites for engine tests: a config, its plan, and events in words."""

from __future__ import annotations

from typing import Any

import msgspec

from edge_agent.config.site import (
    ActionConfig,
    ActuatorConfig,
    AgentConfig,
    ModelConfig,
    RuleConfig,
    SignalConfig,
    SiteConfig,
    SourceConfig,
)  # fmt: skip
from edge_agent.engine import Engine
from edge_agent.plan import LaneSpec, make_plan
from edge_agent.ports import FieldSpec
from edge_agent.types import LaneChange, ModelRef, Prediction, Reading, Stamp, Tick

WALL0 = 1_767_225_600_000_000_000
MODEL = ModelRef("bearing", "1.0.0", "ab" * 32)


class NoConfig(msgspec.Struct, frozen=True):
    pass


def at(seconds: float) -> Stamp:
    ns = round(seconds * 1e9)
    return Stamp(ns, WALL0 + ns, boot="b")


def reading(seconds: float, stream: str = "motor", **values: Any) -> Reading:
    return Reading(stream, at(seconds), values)


def tick(seconds: float) -> Tick:
    return Tick(at(seconds))


def prediction(seconds: float, score: float | None, number: int = 0, lane: str = "bearing") -> Prediction:
    valid = score is not None
    outputs = {"score": score} if valid else {}
    error = "" if valid else "NaN in output"
    return Prediction(lane, number, at(seconds), at(seconds), MODEL, valid, outputs, error=error)


def served(seconds: float, trust: str = "trusted", lane: str = "bearing") -> LaneChange:
    return LaneChange(lane, trust, at(seconds), "" if trust == "trusted" else "deadline missed")


def site(*rules: RuleConfig, signals: tuple[SignalConfig, ...] = (), stale_after: str = "10s") -> SiteConfig:
    return SiteConfig(
        agent=AgentConfig(gateway="gw1"),
        source=(SourceConfig(name="motor", kind="any", driver=NoConfig(), stale_after=stale_after),),
        signal=signals,
        model=(ModelConfig(name="bearing", package="bearing", input=("motor.temp", "motor.load")),),
        rule=rules,
        actuator=(ActuatorConfig(name="press", kind="any", driver=NoConfig()),),
    )


FIELDS = {
    "motor": {
        "temp": FieldSpec(unit="Cel", min=-40, max=200),
        "load": FieldSpec(),
        "running": FieldSpec(type="bool"),
        "starts": FieldSpec(type="int"),
    }
}
LANES = {
    "bearing": LaneSpec(
        "bearing", {"score": "double"}, ("motor.temp", "motor.load"), length=4, stride=2, stale_ns=5_000_000_000
    )
}


def engine(*rules: RuleConfig, **more: Any) -> Engine:
    plan, _ = make_plan(site(*rules, **more), FIELDS, LANES)
    return Engine(plan, epoch="E1")


def run(machine: Engine, *events: Any) -> list[Any]:
    """Feeds events as the runner does: a tick at each deadline before a later event."""
    out: list[Any] = []
    last = 0
    for event in events:
        while (deadline := machine.next_deadline()) <= event.stamp.mono_ns:
            last = max(deadline, last)
            out += machine.handle(Tick(Stamp(last, WALL0 + last, boot="b")))
        out += machine.handle(event)
        last = max(last, event.stamp.mono_ns)
    return out


def of(kind: type[Any], effects: list[Any]) -> list[Any]:
    return [e for e in effects if isinstance(e, kind)]


OVERHEAT = RuleConfig(
    id="overheat", when="motor.temp > 90 || (bearing.score > 0.8 && bearing.trusted)", clear="motor.temp < 75",
    severity="critical", actions=(ActionConfig(set="press.relay", value=0, else_value=1),),
)  # fmt: skip
