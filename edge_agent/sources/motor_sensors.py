"""The motor seen through its sensors, with noise, resolution, and faults of the machine and of the sensors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.ports import FieldSpec
from edge_agent.sources.motor import MOTOR_FAULTS, Motor, MotorFault

SensorFault = Literal["sensor_stuck", "sensor_drift", "dropout"]

FIELDS = {
    "load": FieldSpec(unit="1", min=0.0, max=1.5),
    "speed": FieldSpec(unit="/min", min=0.0, max=1800.0),
    "temp": FieldSpec(unit="Cel", min=-20.0, max=180.0),
    "vibration": FieldSpec(unit="mm/s", min=0.0, max=25.0),
    "current": FieldSpec(unit="A", min=0.0, max=20.0),
}
"""The sensors and the whole range each can show; beyond it they clip."""

_NOISE = {"load": 0.004, "speed": 1.5, "temp": 0.12, "vibration": 0.05, "current": 0.03}
_DIGITS = {"load": 3, "speed": 1, "temp": 2, "vibration": 3, "current": 3}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault and when it acts, in seconds of the motor's life. It grows linearly over `ramp_s`.

    `field` is for faults of a sensor; empty, all sensors have it. A sensor that drifts is off by `severity` x half
    its range when fully grown; stuck and dropout know no severity.
    """

    kind: MotorFault | SensorFault
    start_s: float = 0.0
    duration_s: float = float("inf")
    ramp_s: float = 0.0
    severity: Annotated[float, Meta(ge=0, le=1)] = 1.0
    field: Literal["", "load", "speed", "temp", "vibration", "current"] = ""

    def acts(self, t_s: float) -> bool:
        return 0 <= t_s - self.start_s < self.duration_s

    def level(self, t_s: float) -> float:
        """Severity at `t_s`; 0 while it does not act."""
        if not self.acts(t_s):
            return 0.0
        return self.severity * (min(1.0, (t_s - self.start_s) / self.ramp_s) if self.ramp_s > 0 else 1.0)


class InstrumentedMotor:
    """A motor with five sensors. The same seed, faults and steps give the same readings; a fault changes none of
    the noise and none of the process, so a faulty motor has a healthy twin."""

    def __init__(self, seed: int, faults: Sequence[Fault] = (), *, thermal_s: float = 60.0) -> None:
        self.motor = Motor(seed, thermal_s=thermal_s)
        self.t_s = 0.0
        self._faults = list(faults)
        self._rng = Random(f"sensors {seed}")  # noqa: S311 - a simulation, not a secret
        self._shown: dict[str, float] = {}

    def inject(self, fault: Fault) -> None:
        """`fault.start_s` counts from now."""
        self._faults.append(msgspec.structs.replace(fault, start_s=self.t_s + fault.start_s))

    def clear(self) -> None:
        """All faults end."""
        self._faults.clear()

    def sample(self, dt_s: float) -> dict[str, float | None] | None:
        """What the sensors say `dt_s` later; None for a field that is silent, and at all when all are."""
        self.t_s += dt_s
        wear, blocked, overheating = (self._level(kind) for kind in MOTOR_FAULTS)
        state = self.motor.step(dt_s, wear, blocked, overheating)
        values = {field: self._sense(field, getattr(state, field)) for field in FIELDS}
        return None if all(value is None for value in values.values()) else values

    def _level(self, kind: str, field: str = "") -> float:
        hits = (f.level(self.t_s) for f in self._faults if f.kind == kind and f.field in ("", field))
        return max(hits, default=0.0)

    def _sense(self, field: str, true: float) -> float | None:
        noise = self._rng.gauss(0, _NOISE[field])
        states = {f.kind for f in self._faults if f.field in ("", field) and f.acts(self.t_s)} if self._faults else ()
        if "dropout" in states:
            return None
        if "sensor_stuck" in states and field in self._shown:
            return self._shown[field]
        spec = FIELDS[field]
        least, most = spec.min or 0.0, spec.max or 0.0
        shown = true + noise + self._level("sensor_drift", field) * (most - least) / 2
        self._shown[field] = value = round(min(max(shown, least), most), _DIGITS[field])
        return value
