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
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from int8 import onnx_file
from int8.network import Array, Dense, Layer, Scale, quantize, run
from int8.package import write_package
from int8.runtimes import onnx_outputs
from motor_lives import CHANNELS, CLIP, FAULTS, HELDOUT, LENGTH, STRIDE, auc, errors, lives, scaled
from torch import nn

SEED = 20262
_TRAIN, _VALIDATION = range(60), range(100, 120)
_WIDTHS = (96, 16, 96)
_EPOCHS = 40
_BATCH = 256
_FALSE_ALARMS = 1e-3
_MARGIN = 1.5

ENTRY = Scale.of_range(-CLIP, CLIP)
"""All that the clip lets through."""


def center(train: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel while the motor runs."""
    running = train[:, :, :][train[:, CHANNELS.index("speed")].min(axis=1) > 1300]
    return running.mean(axis=(0, 2)).round(4), running.std(axis=(0, 2)).round(4)


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


def scores_of(path: Path, x: Array) -> Array:
    return errors(x, onnx_outputs(path, x))


def measure(path: Path, mean: Array, std: Array, threshold: float) -> dict[str, object]:
    """Figures of motors that no training saw."""
    scores = scores_of(path, scaled(lives(HELDOUT), mean, std))
    running = scores_of(path, scaled(lives(HELDOUT, stops=False), mean, std))
    out: dict[str, object] = {
        "motors": len(HELDOUT),
        "windows": len(scores),
        "false_alarms": round(float((scores >= threshold).mean()), 5),
    }
    for name, fault in FAULTS.items():
        faulty = scores_of(path, scaled(lives(HELDOUT, [fault], stops=False), mean, std))
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
    scores = scores_of(path, validation)
    threshold = round(float(np.quantile(scores, 1 - _FALSE_ALARMS)) * _MARGIN, 3)
    heldout = measure(path, mean, std, threshold)
    write_package(path.parent, manifest(mean, std, threshold, heldout))
    floats = errors(validation, run(layers, validation)[-1])
    medians = {"median": float(np.median(scores)), "median_float32": float(np.median(floats))}
    print(json.dumps({"threshold": threshold, **medians, **heldout}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
