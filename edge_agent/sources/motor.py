"""An electric motor with a load, a thermal mass and a bearing: the physics that the simulated sources share. Pure.

A four-pole 2.2 kW machine on 50 Hz. Torque follows the process, slip follows torque, current follows both, losses
follow current, and temperature follows losses through one thermal mass; vibration follows speed, load and wear. All
lags are solved exactly, so a step may be of any length.
"""

from __future__ import annotations

import math
from random import Random
from typing import Literal, get_args

import msgspec

SYNCHRONOUS_RPM = 1500.0
_RATED_SLIP = 0.04
_RATED_CURRENT_A = 4.8
_IDLE_CURRENT_A = 1.9
_RATED_RISE_K = 50.0
_IDLE_LOSS_SHARE = 0.2
_INERTIA_S = 0.6
_LOAD_LAG_S = 0.8

MotorFault = Literal["bearing_wear", "blocked_cooling", "overheating"]
MOTOR_FAULTS: tuple[MotorFault, ...] = get_args(MotorFault)


class MotorState(msgspec.Struct, frozen=True):
    """True values, before any sensor."""

    load: float
    """Torque over rated torque."""
    speed: float
    """1/min."""
    temp: float
    """Of the winding, degrees Celsius."""
    vibration: float
    """mm/s, rms of the velocity, as in ISO 20816."""
    current: float
    """A."""


class Motor:
    """One machine. The same seed and steps give the same life. `running` is its relay."""

    def __init__(self, seed: int, *, thermal_s: float = 60.0, ambient_c: float = 25.0) -> None:
        self.running = True
        self._rng = Random(f"motor {seed}")  # noqa: S311 - a simulation, not a secret
        self._thermal_s = thermal_s
        self._ambient_c = ambient_c
        self._wanted = 0.5
        self._hold_s = 0.0
        self._load = 0.5
        self._speed = SYNCHRONOUS_RPM * (1 - _RATED_SLIP * 0.5)
        self._temp = ambient_c + 0.5 * _RATED_RISE_K

    def step(self, dt_s: float, wear: float = 0.0, blocked: float = 0.0, overheating: float = 0.0) -> MotorState:
        """The state `dt_s` later. Severities from 0 to 1: wear of the bearing, blockage of the cooling air, and a
        short between windings (`overheating`)."""
        self._follow_process(dt_s)
        torque = (self._load + 0.1 * wear) if self.running else 0.0
        goal = SYNCHRONOUS_RPM * (1 - _RATED_SLIP * torque) if self.running else 0.0
        self._speed += (goal - self._speed) * _closed(dt_s, _INERTIA_S if self.running else 4 * _INERTIA_S)
        current = self._current(torque) * (1 + 0.25 * overheating)
        self._warm(dt_s, current, blocked, overheating)
        return MotorState(
            load=torque, speed=self._speed, temp=self._temp, vibration=self._vibration(wear), current=current
        )

    def _follow_process(self, dt_s: float) -> None:
        """The machine behind the motor asks for a torque, holds it for a while, asks for another."""
        self._hold_s -= dt_s
        if self._hold_s <= 0:
            self._wanted = self._rng.uniform(0.25, 1.0)
            self._hold_s = self._rng.uniform(5.0, 25.0)
        self._load += (self._wanted - self._load) * _closed(dt_s, _LOAD_LAG_S)

    def _current(self, torque: float) -> float:
        if not self.running:
            return 0.0
        active = math.sqrt(_RATED_CURRENT_A**2 - _IDLE_CURRENT_A**2) * torque
        return math.hypot(_IDLE_CURRENT_A, active)

    def _warm(self, dt_s: float, current: float, blocked: float, overheating: float) -> None:
        copper = (1 - _IDLE_LOSS_SHARE) * (current / _RATED_CURRENT_A) ** 2
        iron = _IDLE_LOSS_SHARE if self.running else 0.0
        short = 1.5 * overheating if self.running else 0.0
        resistance = 1 + 4 * blocked
        goal = self._ambient_c + _RATED_RISE_K * (copper + iron + short) * resistance
        self._temp += (goal - self._temp) * _closed(dt_s, self._thermal_s * resistance)

    def _vibration(self, wear: float) -> float:
        turning = (self._speed / SYNCHRONOUS_RPM) ** 2
        healthy = 0.7 * turning + 0.5 * self._load * turning
        # a worn race does not hum but knocks: the level itself swings
        knocks = 4.5 * wear * turning * (1 + 0.3 * abs(self._rng.gauss(0, 1)))
        return 0.05 + healthy + knocks


def _closed(dt_s: float, lag_s: float) -> float:
    """Share of the way to its goal that a first-order lag covers in `dt_s`."""
    return 1.0 - math.exp(-dt_s / lag_s)
