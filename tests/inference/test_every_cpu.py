"""A quantized model gives the same on every CPU: here, and on an emulated one whose int8 kernels saturate."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera.pictures import BIKES

from edge_agent.inference.manifest import ImageInput
from edge_agent.inference.package import load_package
from edge_agent.inference.runtimes import onnx
from edge_agent.inference.runtimes.runtime import RuntimeOptions
from edge_agent.sources.geometry_child import Shaper

from . import onnx_bytes
from .answers import answers
from .packages import MODELS, plain_package, yolox_package

ROOT = Path(__file__).parents[2]
EMULATOR = shutil.which("qemu-x86_64")
NO_VNNI = "Haswell"


@pytest.fixture
def _emulator() -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"int8 kernels saturate on x86-64 only, this is {platform.machine()}")
    if EMULATOR is None:
        pytest.skip("not installed: qemu-x86_64 (package qemu-user)")


def on_older_cpu(package: Path, inputs: bytes) -> tuple[str, list[list[object]]]:
    """`answers` of a process whose CPU has AVX2 and no VNNI."""
    raw = package / "inputs.raw"
    raw.write_bytes(inputs)
    script = Path(__file__).with_name("answers.py")
    done = subprocess.run(
        [str(EMULATOR), "-cpu", NO_VNNI, sys.executable, str(script), str(package), str(raw)],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    backend, theirs = json.loads(done.stdout.splitlines()[-1])
    return backend, theirs


def as_json(ours: list[list[object]]) -> object:
    return json.loads(json.dumps(ours))


def some_inputs(package: Path) -> bytes:
    """Noise over all that the package's input can be."""
    given, rng = load_package(package).manifest.input, np.random.default_rng(4)
    if isinstance(given, ImageInput):
        return rng.bytes(20 * given.raw_bytes)
    noise = rng.normal(0, 2, (20, given.length, given.channels)) * given.std + given.mean
    return np.ascontiguousarray(noise.transpose(0, 2, 1), "<f4").tobytes()


def test_sum_of_products_that_needs_more_than_16_bits_is_right(tmp_path: Path) -> None:
    weights = onnx_bytes.tensor("w", onnx_bytes.INT8, [2, 1], [127, 127])
    given, result = onnx_bytes.value("x", onnx_bytes.UINT8, [1, 2]), onnx_bytes.value("y", onnx_bytes.INT32, [1, 1])
    graph = onnx_bytes.graph([onnx_bytes.node("MatMulInteger", ["x", "w"], ["y"])], [given], [result], [weights])
    path = tmp_path / "sum.onnx"
    path.write_bytes(onnx_bytes.model(graph))
    session = onnx.open_session(path, RuntimeOptions())
    assert session.run(None, {"x": np.full((1, 2), 255, np.uint8)})[0].item() == 2 * 255 * 127


@pytest.mark.parametrize("saturates", [True, False])
def test_backend_says_when_the_fast_kernels_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool
) -> None:
    monkeypatch.setattr(onnx, "saturates", lambda: saturates)
    backend, _ = answers(plain_package(tmp_path, onnx_bytes.identity()), bytes(16))
    assert ("saturate" in backend) == saturates


@pytest.mark.usefixtures("_emulator")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["meter-digits", "motor-anomaly"])
def test_shipped_model_gives_the_same_bits_on_a_cpu_whose_kernels_saturate(tmp_path: Path, name: str) -> None:
    package = Path(shutil.copytree(ROOT / "models" / name / "1.0.0", tmp_path / name))
    inputs = some_inputs(package)
    backend, theirs = on_older_cpu(package, inputs)
    assert "saturate" in backend
    assert theirs == as_json(answers(package, inputs)[1])


@pytest.mark.usefixtures("_emulator")
@pytest.mark.slow
@pytest.mark.skipif(not (MODELS.exists() and BIKES.exists()), reason="../shared/data is not here")
def test_detector_finds_the_listed_car_and_person_on_a_cpu_whose_kernels_saturate(tmp_path: Path) -> None:
    package = yolox_package(tmp_path)
    frame = street(package, 60)
    backend, ((error, outputs, _),) = on_older_cpu(package, frame)
    assert "saturate" in backend
    assert not error
    assert outputs["car_score"] == pytest.approx(0.609, abs=0.03)
    assert outputs["person_score"] == pytest.approx(0.251, abs=0.03)
    assert outputs == as_json(answers(package, frame)[1])[0][1]


def street(package: Path, number: int) -> bytes:
    """A frame of the street video as the package's camera gives it."""
    given = load_package(package).manifest.input
    assert isinstance(given, ImageInput)
    video = cv2.VideoCapture(str(BIKES))
    for _ in range(number + 1):
        _, picture = video.read()
    video.release()
    return bytes(Shaper(given.image_view()).shape(picture)[1].tobytes())
