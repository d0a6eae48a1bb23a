"""Lives of simulated motors, healthy and not, as windows for the anomaly model; and how well a score tells them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from edge_agent.sources.motor_sensors import FIELDS, Fault, InstrumentedMotor

Array = np.ndarray[Any, Any]

LENGTH = 32
STRIDE = 8
CLIP = 8.0
"""In standard deviations of a running motor."""
CHANNELS = tuple(FIELDS)
RATES_HZ = (5.0, 10.0, 20.0, 50.0, 100.0)
HELDOUT = range(200, 230)
"""Seeds of the motors that no training, calibration or choice has seen."""
_LIFE_S = {5.0: 1200.0, 10.0: 900.0, 20.0: 480.0, 50.0: 200.0, 100.0: 100.0}

FAULTS = {
    "bearing_wear_10": Fault(kind="bearing_wear", severity=0.1),
    "bearing_wear_30": Fault(kind="bearing_wear", severity=0.3),
    "blocked_cooling_30": Fault(kind="blocked_cooling", severity=0.3),
    "blocked_cooling_100": Fault(kind="blocked_cooling", severity=1.0),
    "overheating_50": Fault(kind="overheating", severity=0.5),
    "temp_drift_20": Fault(kind="sensor_drift", field="temp", severity=0.2),
    "current_drift_20": Fault(kind="sensor_drift", field="current", severity=0.2),
    "speed_stuck": Fault(kind="sensor_stuck", field="speed", start_s=20.0),
}
"""Fault and severity in percent; all act from the first second (stuck: from the 20th) of motors that run."""


def life(seed: int, rate_hz: float, faults: Sequence[Fault] = (), *, stops: bool = True) -> Array:
    """One motor's life, float32 (n, channels): small or large (5 to 90 s), switched off and on again now and then."""
    rng = Random(f"life {seed} {rate_hz}")
    motor = InstrumentedMotor(seed, faults, thermal_s=5.0 * 18.0 ** rng.random())
    rows, switch_s = [], rng.uniform(40.0, 120.0)
    for _ in range(round(_LIFE_S[rate_hz] * rate_hz)):
        values = motor.sample(1 / rate_hz)
        if values is not None:
            rows.append([values[field] for field in CHANNELS])
        if stops and motor.t_s > switch_s:
            motor.motor.running = not motor.motor.running
            switch_s = motor.t_s + (rng.uniform(30.0, 150.0) if motor.motor.running else rng.uniform(5.0, 60.0))
    return np.array(rows, np.float32)


def windows(rows: Array) -> Array:
    """float32 (n, channels, LENGTH), as the engine gives them."""
    starts = range(0, len(rows) - LENGTH + 1, STRIDE)
    return np.array([rows[start : start + LENGTH].T for start in starts], np.float32)


def lives(seeds: Sequence[int], faults: Sequence[Fault] = (), *, stops: bool = True) -> Array:
    """Windows of one life for every seed, at one rate after the other."""
    return np.concatenate([
        windows(life(seed, RATES_HZ[at % len(RATES_HZ)], faults, stops=stops)) for at, seed in enumerate(seeds)
    ])  # fmt: skip


def scaled(x: Array, mean: Array, std: Array) -> Array:
    """float32 (n, channels, LENGTH) as the model gets it."""
    return np.clip((x - mean[:, None]) / std[:, None], -CLIP, CLIP).astype(np.float32)


def errors(x: Array, y: Array) -> Array:
    return ((x.astype(np.float64) - y.reshape(x.shape)) ** 2).mean(axis=(1, 2))


def auc(healthy_scores: Array, faulty_scores: Array) -> float:
    """Probability that a faulty window scores higher than a healthy one; ties count half."""
    ordered = np.sort(healthy_scores)
    below = np.searchsorted(ordered, faulty_scores, "left") + np.searchsorted(ordered, faulty_scores, "right")
    return float(below.mean() / (2 * len(ordered)))
