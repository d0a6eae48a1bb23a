"""Packages made for a test from a model file: the manifest is written beside a copy of it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODELS = DATA / "models"

VWW_INPUT = """
[input]
kind = "image"
view = { width = 96, height = 96, interpolation = "area", color = "rgb" }
layout = "nhwc"
dtype = "int8"
shape = [1, 96, 96, 3]
scale = 0.00392156862745098
"""
VWW_OUTPUT = """
[output]
kind = "classes"
dtype = "int8"
shape = [1, 2]
labels = ["no_person", "person"]
"""
AE_INPUT = """
[input]
kind = "window"
channels = 1
length = 64
stride = 1
dtype = "float32"
shape = [1, 1, 64]
mean = 79.44754
std = 9.300171
clip = [-6.0, 4.0]
"""
AE_OUTPUT = """
[output]
kind = "reconstruction_error"
dtype = "float32"
shape = [1, 1, 64]
"""
YOLOX_INPUT = """
[input]
kind = "image"
view = { width = 416, height = 416, fit = "letterbox", interpolation = "linear", color = "bgr", pad = 114 }
layout = "nchw"
dtype = "float32"
shape = [1, 3, 416, 416]
"""
YOLOX_OUTPUT = """
[output]
kind = "boxes"
dtype = "float32"
shape = [1, 3549, 85]
labels_file = "coco_classes.txt"
min_score = 0.2
count_of = ["person", "car"]
"""


def write_package(
    directory: Path, model: Path, body: str, *, runtime: str = "", extra: tuple[Path, ...] = (),
    policy: str = "latest", deadline_ms: int = 2000, name: str = "test-model",
) -> Path:  # fmt: skip
    """A package in `directory` around a copy of `model`; `body` holds the tables from [input] on."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in (model, *extra):
        if path.parent != directory:
            shutil.copy(path, directory / path.name)
    runtime = runtime or ("onnx" if model.suffix == ".onnx" else "litert")
    head = (
        f'format = 1\nname = "{name}"\nversion = "1.0.0"\nlicense = "Apache-2.0"\nruntime = "{runtime}"\n'
        f'model = "{model.name}"\ndeadline_ms = {deadline_ms}\npolicy = "{policy}"\n'
    )
    files = "".join(_file(directory / path.name) for path in (model, *extra))
    (directory / "manifest.toml").write_text(head + files + body)
    return directory


def _file(path: Path) -> str:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return f'\n[[files]]\npath = "{path.name}"\nsize = {len(content)}\nsha256 = "{sha256}"\n'


def vww_package(directory: Path) -> Path:
    return write_package(directory, MODELS / "vww_96_int8.tflite", VWW_INPUT + VWW_OUTPUT)


def ae_package(directory: Path, *, model: str = "ae_fp32.onnx", deadline_ms: int = 2000) -> Path:
    return write_package(directory, MODELS / model, AE_INPUT + AE_OUTPUT, policy="every", deadline_ms=deadline_ms)


def yolox_package(directory: Path, *, model: str = "yolox_nano_int8_qdq.onnx") -> Path:
    extra = (MODELS / "coco_classes.txt",)
    return write_package(directory, MODELS / model, YOLOX_INPUT + YOLOX_OUTPUT, extra=extra)


PLAIN_INPUT = """
[input]
kind = "window"
channels = 1
length = 4
dtype = "float32"
shape = [1, 4]
"""
PLAIN_OUTPUT = """
[output]
kind = "values"
names = ["a", "b", "c", "d"]
dtype = "float32"
shape = [1, 4]
"""


def plain_package(
    directory: Path, model: bytes, *, given: str = PLAIN_INPUT, output: str = PLAIN_OUTPUT, runtime: str = "onnx",
    deadline_ms: int = 2000, policy: str = "every", name: str = "test-model",
) -> Path:  # fmt: skip
    """Around a model made for the test; by default it takes four numbers and gives four."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "model.onnx"
    path.write_bytes(model)
    return write_package(
        directory, path, given + output, runtime=runtime, policy=policy, deadline_ms=deadline_ms, name=name
    )
