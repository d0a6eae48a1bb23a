#!/usr/bin/env python3
"""Trains the anomaly model of the simulated motor: models/motor-anomaly and tests/models/float.

    pip install . torch==2.13.0 onnx==1.23.2 onnxruntime
    python scripts/train_motor_anomaly.py [--out FOLDER]

An autoencoder of windows of healthy life: running, starting, stopping, standing still, at 5 to 100 readings a
second. What it cannot reproduce is not healthy. Quantization covers the whole range of every sensor, not the range
of healthy life: it is the sick motor that goes beyond that. Motors of the held-out part have seeds of their own.
The same seed gives the same network on the same machine; another CPU may round otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from int8 import onnx_file
from int8.network import Array, Dense, Layer, Scale, quantize, run
from int8.package import write_package
from torch import nn

from edge_agent.sources.motor_sensors import FIELDS, Fault, InstrumentedMotor

SEED = 20262
LENGTH = 32
STRIDE = 8
CLIP = 8.0
RATES_HZ = (5.0, 10.0, 20.0, 50.0, 100.0)
CHANNELS = tuple(FIELDS)

_TRAIN, _VALIDATION, _HELDOUT = range(60), range(100, 120), range(200, 230)
_LIFE_S = {5.0: 1200.0, 10.0: 900.0, 20.0: 480.0, 50.0: 200.0, 100.0: 100.0}
_WIDTHS = (96, 16, 96)
_EPOCHS = 40
_BATCH = 256
_FALSE_ALARMS = 1e-3
_MARGIN = 1.5

ENTRY = Scale.of_range(-CLIP, CLIP)
"""All that the clip lets through."""


def healthy(seed: int, rate_hz: float, faults: Sequence[Fault] = (), *, stops: bool = True) -> Array:
    """One motor's life, float32 (n, channels); it is switched off and on again now and then."""
    rng = Random(f"life {seed} {rate_hz}")
    motor = InstrumentedMotor(seed, faults, thermal_s=rng.uniform(20.0, 90.0))
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
        windows(healthy(seed, RATES_HZ[at % len(RATES_HZ)], faults, stops=stops)) for at, seed in enumerate(seeds)
    ])  # fmt: skip


def center(train: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel while the motor runs."""
    running = train[:, :, :][train[:, CHANNELS.index("speed")].min(axis=1) > 1300]
    return running.mean(axis=(0, 2)).round(4), running.std(axis=(0, 2)).round(4)


def scaled(x: Array, mean: Array, std: Array) -> Array:
    """float32 (n, channels, LENGTH) as the model gets it."""
    return np.clip((x - mean[:, None]) / std[:, None], -CLIP, CLIP).astype(np.float32)


def spoiled(clean: torch.Tensor) -> torch.Tensor:
    """Half of the windows with one channel moved anywhere: what the network learns to take back, it cannot pass on.

    Without this an autoencoder reproduces a hot motor as well as a warm one, because temperature is free of the
    other channels.
    """
    n, channels, _ = clean.shape
    offset = (torch.rand(n, 1, 1) * 4 - 2) * CLIP * (torch.rand(n, 1, 1) < 0.5)
    hit = nn.functional.one_hot(torch.randint(channels, (n,)), channels)[:, :, None]
    return torch.clamp(clean + hit * offset, -CLIP, CLIP)


def train(x: Array) -> list[Layer]:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    size = x[0].size
    denses = [nn.Linear(i, o) for i, o in pairwise([size, *_WIDTHS, size])]
    net = nn.Sequential(denses[0], nn.ReLU(), denses[1], nn.ReLU(), denses[2], nn.ReLU(), denses[3])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS * (len(x) // _BATCH + 1))
    inputs = torch.from_numpy(x)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(x)).split(_BATCH):
            optimizer.zero_grad()
            clean = inputs[chosen]
            nn.functional.mse_loss(net(spoiled(clean).flatten(1)), clean.flatten(1)).backward()
            optimizer.step()
            schedule.step()
    return [
        Dense(dense.weight.detach().numpy(), dense.bias.detach().numpy(), relu=at < len(denses) - 1)
        for at, dense in enumerate(denses)
    ]


def whole_range(healthy_x: Array) -> Array:
    """Healthy windows, each also with every channel, and all of them, moved anywhere inside the clip."""
    rng = np.random.default_rng(SEED)
    out = [healthy_x]
    for channel in range(len(CHANNELS)):
        moved = healthy_x.copy()
        moved[:, channel] += rng.uniform(-2 * CLIP, 2 * CLIP, (len(moved), 1)).astype(np.float32)
        out.append(moved)
    out.append(rng.uniform(-CLIP, CLIP, healthy_x.shape[:2])[..., None] + np.zeros(LENGTH))
    return np.clip(np.concatenate(out), -CLIP, CLIP).astype(np.float32)


def onnx_scores(path: Path, x: Array) -> Array:
    """Mean squared error of each window, float64 (n,), by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    y = np.concatenate([session.run(None, {"x": window[None]})[0] for window in x])
    return errors(x, y)


def errors(x: Array, y: Array) -> Array:
    return ((x.astype(np.float64) - y.reshape(x.shape)) ** 2).mean(axis=(1, 2))


def auc(healthy_scores: Array, faulty_scores: Array) -> float:
    """Probability that a faulty window scores higher than a healthy one; ties count half."""
    ordered = np.sort(healthy_scores)
    below = np.searchsorted(ordered, faulty_scores, "left") + np.searchsorted(ordered, faulty_scores, "right")
    return float(below.mean() / (2 * len(ordered)))


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


def measure(path: Path, mean: Array, std: Array, threshold: float) -> dict[str, object]:
    """Figures of motors that no training saw."""
    scores = onnx_scores(path, scaled(lives(_HELDOUT), mean, std))
    running = onnx_scores(path, scaled(lives(_HELDOUT, stops=False), mean, std))
    out: dict[str, object] = {
        "motors": len(_HELDOUT),
        "windows": len(scores),
        "false_alarms": round(float((scores >= threshold).mean()), 5),
    }
    for name, fault in FAULTS.items():
        faulty = onnx_scores(path, scaled(lives(_HELDOUT, [fault], stops=False), mean, std))
        out[f"auc_{name}"] = round(auc(running, faulty), 4)
        out[f"found_{name}"] = round(float((faulty >= threshold).mean()), 4)
    return out


def manifest(mean: Array, std: Array, threshold: float, heldout: dict[str, object]) -> str:
    size = len(CHANNELS)
    return f"""\
format = 1
name = "motor-anomaly"
version = "1.0.0"
license = "Apache-2.0"
description = "autoencoder of a motor's healthy life; int8; scripts/train_motor_anomaly.py"
runtime = "onnx"
model = "model.onnx"
deadline_ms = 200
policy = "every"

[input]
# {", ".join(CHANNELS)}: in this order, from a motor read 5 to 100 times a second
kind = "window"
channels = {size}
length = {LENGTH}
stride = {STRIDE}
layout = "ncl"
dtype = "float32"
shape = [1, {size}, {LENGTH}]
mean = {[round(float(m), 4) for m in mean]}
std = {[round(float(s), 4) for s in std]}
clip = [{-CLIP}, {CLIP}]

[output]
kind = "reconstruction_error"
shape = [1, {size}, {LENGTH}]
dtype = "float32"
threshold = {threshold}

[plausible]
score = [0.0, {(2 * CLIP) ** 2}]

[heldout]
# motors with seeds of their own; faults and severities: FAULTS in the script; auc and share found by window
""" + "".join(f"{key} = {value!r}\n" for key, value in heldout.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=root, help="a folder to write to instead of the project")
    out = parser.parse_args().out
    raw = lives(_TRAIN)
    mean, std = center(raw)
    layers = train(scaled(raw, mean, std))
    validation = scaled(lives(_VALIDATION), mean, std)
    quantized = quantize(layers, ENTRY, whole_range(validation))
    path, reference = out / "models/motor-anomaly/1.0.0/model.onnx", out / "tests/models/float/motor-anomaly.onnx"
    for file in (path, reference):
        file.parent.mkdir(parents=True, exist_ok=True)
    shape = (1, len(CHANNELS), LENGTH)
    onnx_file.write_int8(str(path), quantized, ENTRY, shape, shape)
    onnx_file.write_float(str(reference), layers, shape, shape)
    scores = onnx_scores(path, validation)
    threshold = round(float(np.quantile(scores, 1 - _FALSE_ALARMS)) * _MARGIN, 3)
    heldout = measure(path, mean, std, threshold)
    write_package(path.parent, manifest(mean, std, threshold, heldout))
    floats = errors(validation, run(layers, validation)[-1])
    medians = {"median": float(np.median(scores)), "median_float32": float(np.median(floats))}
    print(json.dumps({"threshold": threshold, **medians, **heldout}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
