#!/usr/bin/env python3
"""Trains the reader of a meter's digit: models/meter-digits, models/meter-digits-litert, tests/models/float.

    pip install . torch==2.13.0 onnx==1.23.2 onnxruntime ai-edge-litert scikit-learn opencv-python-headless
    python scripts/train_meter_digits.py [--out FOLDER]

The same seed gives the same networks on the same machine; another CPU may round otherwise. The figures in the
manifests are of held-out digits, seen by no training, no calibration and no choice; writers are not known, so the
same hand may have written digits of several parts. Both packages hold the same int8 numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from int8 import onnx_file, tflite_file
from int8.network import Array, Conv, Dense, Layer, Quantized, Scale, quantize, run
from int8.package import write_package
from int8.runtimes import litert_outputs, onnx_outputs
from meter_digits_data import HELDOUT_SCENES, SIZE, as_floats, as_int8, blanks, figures, heldout, load, pictures
from torch import nn
from torch.nn import functional

SEED = 20261
_SCENES = 40
_BLANKS = 3000
_EPOCHS = 24
_BATCH = 128

ENTRY = Scale(1 / 255, -128)
"""uint8 pixels less 128: nothing is lost on the way in, and the whole range of a camera is there."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2) for i, o in ((1, 8), (8, 16), (16, 32)))
        self.dense = nn.Linear(4 * 4 * 32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = functional.relu(conv(functional.pad(x, (0, 1, 0, 1))))
        return self.dense(functional.dropout(x.permute(0, 2, 3, 1).flatten(1), 0.2, self.training))


def train(x: Array, labels: Array) -> Net:
    """`labels` of -1: a picture of nothing, for which no class is any better."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS * (len(x) // _BATCH + 1))
    inputs, targets = torch.from_numpy(x[:, None]).float() / 255, targets_of(labels)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(x)).split(_BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def targets_of(labels: Array) -> torch.Tensor:
    """Probabilities (n, 10), smoothed, so that scores stay meaningful."""
    targets = torch.full((len(labels), 10), 0.1)
    shown = torch.from_numpy(labels >= 0)
    targets[shown] = 0.95 * functional.one_hot(torch.from_numpy(labels)[shown], 10).float() + 0.005
    return targets


def layers_of(net: Net) -> list[Layer]:
    convs = [
        Conv(conv.weight.detach().numpy().transpose(0, 2, 3, 1).copy(), conv.bias.detach().numpy(), 2, relu=True)
        for conv in net.convs
    ]
    return [*convs, Dense(net.dense.weight.detach().numpy(), net.dense.bias.detach().numpy(), relu=False)]


def calibration(validation: Array) -> Array:
    """What a camera can show, not only what it mostly shows: also black, white, inverted and noise."""
    rng = np.random.default_rng(SEED)
    flat = np.stack([np.full((SIZE, SIZE), level, np.uint8) for level in range(0, 256, 15)])
    noise = rng.integers(0, 256, (64, SIZE, SIZE), dtype=np.uint8)
    return as_floats(np.concatenate([validation, 255 - validation[:256], flat, noise]))


MIN_SCORE = 0.6
_VIEW = f'view = {{ width = {SIZE}, height = {SIZE}, fit = "resize", interpolation = "area", color = "gray" }}'
_LABELS = ", ".join(f'"{d}"' for d in range(10))


def manifest(name: str, runtime: str, measured: dict[str, object]) -> str:
    onnx = runtime == "onnx"
    shape = f"[1, 1, {SIZE}, {SIZE}]" if onnx else f"[1, {SIZE}, {SIZE}, 1]"
    return f'''\
format = 1
name = "{name}"
version = "1.0.0"
license = "Apache-2.0"
description = "one digit of a meter that fills the picture; int8; scripts/train_meter_digits.py"
runtime = "{runtime}"
model = "model.{"onnx" if onnx else "tflite"}"
deadline_ms = 200
policy = "latest"

[input]
kind = "image"
{_VIEW}
layout = "{"nchw" if onnx else "nhwc"}"
dtype = "{"float32" if onnx else "int8"}"
shape = {shape}
scale = {1 / 255!r}

[output]
kind = "classes"
shape = [1, 10]
dtype = "{"float32" if onnx else "int8"}"
labels = [{_LABELS}]
activation = "softmax"
min_score = {MIN_SCORE}

[heldout]
# digits of scikit-learn that no training saw, each in {HELDOUT_SCENES} scenes; the same hand may have written others
''' + "".join(f"{key} = {value!r}\n" for key, value in measured.items())


def write(out: Path, layers: list[Layer], quantized: list[Quantized]) -> dict[str, Path]:
    """The model files of both packages and the float network that tests compare with."""
    files = {
        "onnx": out / "models/meter-digits/1.0.0/model.onnx",
        "litert": out / "models/meter-digits-litert/1.0.0/model.tflite",
        "float": out / "tests/models/float/meter-digits.onnx",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    shape = (1, 1, SIZE, SIZE)
    onnx_file.write_int8(str(files["onnx"]), quantized, ENTRY, shape, (1, 10))
    onnx_file.write_float(str(files["float"]), layers, shape, (1, 10))
    tflite_file.write_int8(files["litert"], quantized, ENTRY, (1, SIZE, SIZE, 1))
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=root, help="a folder to write to instead of the project")
    out = parser.parse_args().out
    seen, labels = pictures(load("train"), _SCENES, SEED)
    nothing = blanks(_BLANKS, SEED)
    layers = layers_of(train(np.concatenate([seen, nothing]), np.append(labels, [-1] * _BLANKS)))
    validation, _ = pictures(load("validation"), 4, SEED + 1)
    # one scale for a dense layer: tflite-runtime 2.14 knows nothing else
    quantized = quantize(layers, ENTRY, calibration(validation), per_channel=(Conv,))
    files = write(out, layers, quantized)
    seen, labels = heldout()
    floats = figures(run(layers, as_floats(seen))[-1], labels, MIN_SCORE)
    told = {"digits": len(load("heldout").labels), "pictures": len(labels), "float32_accuracy": floats["accuracy"]}
    for name, runtime, scores in (
        ("meter-digits", "onnx", onnx_outputs(files["onnx"], as_floats(seen).transpose(0, 3, 1, 2))),
        ("meter-digits-litert", "litert", litert_outputs(files["litert"], as_int8(seen))),
    ):
        measured = told | figures(scores, labels, MIN_SCORE)
        write_package(files[runtime].parent, manifest(name, runtime, measured))
        print(json.dumps({"package": name, **measured}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
