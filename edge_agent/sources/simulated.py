"""`kind = "simulated"`: an electric motor that does not exist: load, speed, temperature, vibration, current.

The same seed, rate and faults give the same readings. Faults are scheduled in the site file or injected while it
runs; `motor.py` has the physics.

    [[source]]
    name = "motor"
    kind = "simulated"
    rate_hz = 10
    seed = 7
    faults = [{ kind = "bearing_wear", start = "10m", ramp = "2m", severity = 0.6 }]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration
from edge_agent.durations import parse_duration
from edge_agent.errors import EndOfInput
from edge_agent.ports import Context, FieldSpec
from edge_agent.sources.motor import MotorFault
from edge_agent.sources.motor_sensors import FIELDS, Fault, InstrumentedMotor, SensorFault
from edge_agent.sources.pacing import Pace, Speed
from edge_agent.types import Reading

_BATCH = 256


class FaultConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault: of the machine (`bearing_wear`, `blocked_cooling`, `overheating`) or of a sensor."""

    kind: MotorFault | SensorFault
    start: Duration = "0s"
    """After the source was opened."""
    duration: Duration | None = None
    """How long it acts; for ever where not given."""
    ramp: Duration = "0s"
    """It grows to `severity` over this long."""
    severity: Annotated[float, Meta(ge=0, le=1)] = 1.0
    field: Literal["", "load", "speed", "temp", "vibration", "current"] = ""
    """For faults of a sensor; all sensors where not given."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `simulated` source."""

    rate_hz: Annotated[float, Meta(gt=0, le=100_000)] = 10.0
    """Samples in a second of the motor's time."""
    seed: int = 1
    """The same seed gives the same motor, sensors and noise."""
    speed: Speed = 1.0
    """1 is real time, 10 ten times as fast, "max" as fast as the agent takes it."""
    count: Annotated[int, Meta(ge=1)] | None = None
    """Ends after so many samples; endless where not given."""
    thermal: Duration = "60s"
    """Thermal time constant of the motor; shorter makes faults of cooling quicker."""
    faults: tuple[FaultConfig, ...] = ()
    """What goes wrong, and when."""


def fields(config: Config) -> dict[str, FieldSpec]:  # noqa: ARG001 - this kind has always the same fields
    return FIELDS


def open(config: Config, context: Context) -> Simulated:  # noqa: A001 - what every driver offers
    return Simulated(config, context)


class Simulated:
    """ports.Source. A silent sensor gives None in its field; a sample of which all are silent is not a reading."""

    def __init__(self, config: Config, context: Context) -> None:
        faults = [_fault(given) for given in config.faults]
        thermal_s = parse_duration(config.thermal) / 1e9
        self.motor = InstrumentedMotor(config.seed, faults, thermal_s=thermal_s)
        self._stream = context.name
        self._period_ns = 1e9 / config.rate_hz
        self._count = config.count
        self._sampled = 0
        self._pace = Pace(context.clock, config.speed)

    def read(self, timeout_s: float) -> Sequence[Reading]:
        if self._count is not None and self._sampled >= self._count:
            raise EndOfInput(f"all {self._count} samples given")
        self._pace.wait(self._event_ns(), timeout_s)
        readings = []
        for _ in range(_BATCH):
            at_ns = self._event_ns()
            if self._sampled == self._count or not self._pace.reached(at_ns):
                break
            self._sampled += 1
            values = self.motor.sample(self._period_ns / 1e9)
            if values is not None:
                readings.append(Reading(self._stream, self._pace.stamp(at_ns), dict(values)))
        return readings

    def inject(self, fault: Fault) -> None:
        """From now on (`fault.start_s` later), beside the scheduled ones."""
        self.motor.inject(fault)

    def close(self) -> None:
        self._pace.close()

    def _event_ns(self) -> int:
        return round(self._sampled * self._period_ns)


def _fault(given: FaultConfig) -> Fault:
    duration_s = float("inf") if given.duration is None else parse_duration(given.duration) / 1e9
    return Fault(
        kind=given.kind,
        start_s=parse_duration(given.start) / 1e9,
        duration_s=duration_s,
        ramp_s=parse_duration(given.ramp) / 1e9,
        severity=given.severity,
        field=given.field,
    )
