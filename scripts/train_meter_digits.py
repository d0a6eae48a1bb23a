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

import cv2
import numpy as np
import torch
from int8 import onnx_file, tflite_file
from int8.network import Array, Conv, Dense, Layer, Quantized, Scale, quantize, run
from int8.package import write_package
from meter_digits_data import Digits, Scene, load, picture
from torch import nn
from torch.nn import functional

SEED = 20261
SIZE = 32
_RENDERED = 96
_SCENES = 40
_EPOCHS = 24
_BATCH = 128
_HELDOUT_SCENES = 20

ENTRY = Scale(1 / 255, -128)
"""uint8 pixels less 128: nothing is lost on the way in, and the whole range of a camera is there."""


def pictures(digits: Digits, scenes: int, seed: int) -> tuple[Array, Array]:
    """uint8 (n, SIZE, SIZE) as the camera's view gives them, and their labels; every digit in so many scenes."""
    rng = np.random.default_rng(seed)
    seen = [_view(picture(image, Scene.draw(rng), _RENDERED, rng)) for _ in range(scenes) for image in digits.images]
    return np.array(seen), np.tile(digits.labels, scenes)


def _view(seen: Array) -> Array:
    return cv2.resize(seen, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


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
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS * (len(x) // _BATCH + 1))
    inputs, targets = torch.from_numpy(x[:, None]).float() / 255, torch.from_numpy(labels)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(x)).split(_BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs[chosen]), targets[chosen], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


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


def as_floats(seen: Array) -> Array:
    """uint8 (n, height, width) -> float32 (n, height, width, 1) in [0, 1]."""
    return (seen[..., None] / 255).astype(np.float32)


def onnx_scores(path: Path, seen: Array) -> Array:
    """Logits, float32 (n, 10), by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x[None].transpose(0, 3, 1, 2)})[0] for x in as_floats(seen)])


def litert_scores(path: Path, seen: Array) -> Array:
    """Logits, float32 (n, 10), by LiteRT's reference of the operators, without delegates."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]
    scale, zero = result["quantization"]
    out = []
    for x in (seen.astype(np.int16) - 128).astype(np.int8):
        interpreter.set_tensor(entry, x[None, ..., None])
        interpreter.invoke()
        out.append((interpreter.get_tensor(result["index"]).astype(np.float32) - zero) * np.float32(scale))
    return np.concatenate(out)


def figures(logits: Array, labels: Array, min_score: float) -> dict[str, float]:
    """accuracy: of all pictures; read: share with a score of at least `min_score`, of which right: share."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = (e / e.sum(axis=1, keepdims=True)).max(axis=1) >= min_score
    right = logits.argmax(axis=1) == labels
    return {
        "accuracy": round(float(right.mean()), 4),
        "read": round(float(sure.mean()), 4),
        "right": round(float(right[sure].mean()), 4),
    }


MIN_SCORE = 0.6
_VIEW = f'view = {{ width = {SIZE}, height = {SIZE}, fit = "resize", interpolation = "area", color = "gray" }}'
_LABELS = ", ".join(f'"{d}"' for d in range(10))


def manifest(name: str, runtime: str, heldout: dict[str, object]) -> str:
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
# digits of scikit-learn that no training saw, each in {_HELDOUT_SCENES} scenes; the same hand may have written others
''' + "".join(f"{key} = {value!r}\n" for key, value in heldout.items())


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
    layers = layers_of(train(*pictures(load("train"), _SCENES, SEED)))
    validation, _ = pictures(load("validation"), 4, SEED + 1)
    quantized = quantize(layers, ENTRY, calibration(validation))
    files = write(out, layers, quantized)
    digits = load("heldout")
    seen, labels = pictures(digits, _HELDOUT_SCENES, SEED + 2)
    floats = figures(run(layers, as_floats(seen))[-1], labels, MIN_SCORE)
    told = {"digits": len(digits.labels), "pictures": len(labels), "float32_accuracy": floats["accuracy"]}
    for name, runtime, scores in (
        ("meter-digits", "onnx", onnx_scores(files["onnx"], seen)),
        ("meter-digits-litert", "litert", litert_scores(files["litert"], seen)),
    ):
        heldout = told | figures(scores, labels, MIN_SCORE)
        write_package(files[runtime].parent, manifest(name, runtime, heldout))
        print(json.dumps({"package": name, **heldout}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
