"""Real models give, through the lane and its worker process, the results that SOURCES.md lists for them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera.pictures import BIKES, opened

from edge_agent.errors import EndOfInput
from edge_agent.inference.runtimes.onnx import open_session
from edge_agent.inference.runtimes.runtime import RuntimeOptions
from edge_agent.sources.geometry_child import Shaper
from edge_agent.types import ImageView

from .answers import answers
from .lane_rig import LaneRig, wait_gone
from .packages import (
    DATA,
    MODELS,
    VWW_INPUT,
    VWW_OUTPUT,
    ae_package,
    vww_package,
    write_package,
    yolox_package,
)

pytestmark = pytest.mark.skipif(not MODELS.exists(), reason="../shared/data is not here")

KWS = """
[input]
kind = "window"
channels = 10
length = 49
layout = "nlc"
dtype = "int8"
shape = [1, 49, 10, 1]
[output]
kind = "classes"
dtype = "int8"
shape = [1, 12]
labels = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
"""
RESNET = """
[input]
kind = "image"
view = { width = 32, height = 32 }
layout = "nhwc"
dtype = "int8"
shape = [1, 32, 32, 3]
[output]
kind = "classes"
dtype = "int8"
shape = [1, 10]
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
"""
TOYCAR = """
[input]
kind = "window"
channels = 1
length = 640
stride = 128
dtype = "int8"
shape = [1, 640]
[output]
kind = "reconstruction_error"
dtype = "int8"
shape = [1, 640]
"""
SCRAMBLED = """
[input]
kind = "window"
channels = 1
length = 96
dtype = "int16"
shape = [1, 96]
[output]
kind = "values"
names = ["silence", "keyword"]
dtype = "int32"
shape = [1, 2]
"""


def shaped(name: str, view: ImageView) -> tuple[bytes, float]:
    """A photo as a capture child makes it: pixels and scale."""
    head, image = Shaper(view).shape(cv2.imread(str(DATA / "images" / name)))
    return image.tobytes(), head.scale


def photo(name: str, rig: LaneRig) -> tuple[bytes, float]:
    """For the rig's lane."""
    assert rig.lane.view is not None
    return shaped(name, rig.lane.view)


def log_mels() -> bytes:
    """The 196 windows of 5 frames of 128 log-mels."""
    frames = np.fromfile(DATA / "audio" / "ad01_normal_id_01_hist_librosa.bin", "<f4").reshape(200, 128)
    return b"".join(frames[n : n + 5].tobytes() for n in range(196))


@pytest.mark.parametrize(("name", "listed", "exact"), [("china.jpg", 0.035, 10), ("flower.jpg", 0.047, 12)])
def test_photos_have_their_listed_person_scores(tmp_path: Path, name: str, listed: float, exact: int) -> None:
    """Without delegates the level is the same on every box; XNNPACK is within one of it."""
    with LaneRig(vww_package(tmp_path)) as rig:
        prediction = rig.ask_image(photo(name, rig)[0])
        assert prediction.detail["scores"]["person"] == pytest.approx(listed, abs=1 / 256)
        assert prediction.outputs["label"] == "no_person"
    with LaneRig(tmp_path, delegate="none") as rig:
        prediction = rig.ask_image(photo(name, rig)[0])
        assert prediction.detail["scores"]["person"] == exact / 256
        assert "delegate none" in str(rig.health.to_dict(0)["notes"]["backend"])


def test_zero_pixels_give_the_resnet_its_listed_output(tmp_path: Path) -> None:
    raw = [-48, -128, -127, -108, -48, -127, -71, -125, -116, -127]
    package = write_package(tmp_path, MODELS / "pretrainedResnet_quant.tflite", RESNET)
    with LaneRig(package, delegate="none") as rig:
        prediction = rig.ask_image(bytes(32 * 32 * 3))
    assert prediction.outputs["value"] == 0
    assert list(prediction.detail["scores"].values()) == [(q + 128) / 256 for q in raw]


def test_normal_machine_has_its_listed_reconstruction_error(tmp_path: Path) -> None:
    package = write_package(tmp_path, MODELS / "ad01_int8.tflite", TOYCAR, policy="every")
    windows = log_mels()
    with LaneRig(package) as rig:
        for at in range(0, len(windows), 2560):
            rig.raw_window(windows[at : at + 2560], waiting=True)
        rig.wait(lambda: len(rig.predictions) == 196)
    assert np.mean([p.outputs["score"] for p in rig.predictions]) == pytest.approx(10.265, abs=0.002)


@pytest.mark.parametrize("model", ["ae_fp32.onnx", "ae_int8_widecal.onnx"])
def test_scores_of_a_machine_are_those_of_a_plain_loop(tmp_path: Path, model: str) -> None:
    with (DATA / "timeseries" / "machine_temperature_system_failure.csv").open() as f:
        values = np.array([float(row["value"]) for row in csv.DictReader(f)][3000:3400], np.float32)
    session = open_session(MODELS / model, RuntimeOptions())
    expected = []
    with LaneRig(ae_package(tmp_path, model=model)) as rig:
        for n in range(len(values) - 63):
            rig.raw_window(values[n : n + 64].tobytes(), waiting=True)
            x = np.clip((values[n : n + 64] - 79.44754) / 9.300171, -6, 4).astype(np.float32).reshape(1, 1, 64)
            expected.append(float(np.mean((session.run(None, {"x": x})[0] - x) ** 2)))
        rig.wait(lambda: len(rig.predictions) == len(expected))
    assert [p.number for p in rig.predictions] == list(range(len(expected)))
    np.testing.assert_allclose([p.outputs["score"] for p in rig.predictions], expected, rtol=0.02, atol=2e-4)


@pytest.mark.skipif(not BIKES.exists(), reason="../shared/data/video is not here")
@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("yolox_nano_int8_qdq.onnx", {58: (0.643, 0.702), 60: (0.609, 0.251), 61: (0.619, 0.665)}),
        ("yolox_nano.onnx", {60: (0.65, 0.61)}),
    ],
)
def test_car_and_person_in_the_street_video_through_the_camera(
    tmp_path: Path, model: str, listed: dict[int, tuple[float, float]]
) -> None:
    found = {}
    with (
        LaneRig(yolox_package(tmp_path, model=model)) as rig,
        opened({"file": str(BIKES), "speed": "max"}, rig.lane.view) as (source, _),
    ):
        while len(found) < len(listed):
            try:
                taken = source.read(1.0)
            except EndOfInput:
                break
            for frame in taken:
                if frame.number in listed:
                    rig.lane.submit_frame(frame, waiting=True)
                    rig.wait(lambda: len(rig.predictions) == len(found) + 1)
                    found[frame.number] = rig.predictions[-1]
    for number, (car, person) in listed.items():
        outputs = found[number].outputs
        assert outputs["car_score"] == pytest.approx(car, abs=0.03)
        assert outputs["person_score"] == pytest.approx(person, abs=0.03)
    boxes = [box["box"] for p in found.values() for box in p.detail["boxes"]]
    assert boxes
    assert all(0 <= x0 < x1 <= 640.1 and 0 <= y0 < y1 <= 272.1 for x0, y0, x1, y1 in boxes)


def test_photos_show_what_is_in_them_and_where(tmp_path: Path) -> None:
    listed = {"astronaut.png": ("person", 0.93), "camera.png": ("person", 0.93), "coffee.png": ("cup", 0.90),
              "chelsea.png": ("cat", 0.62)}  # fmt: skip
    with LaneRig(yolox_package(tmp_path, model="yolox_nano.onnx")) as rig:
        for name, (label, score) in listed.items():
            pixels, scale = photo(name, rig)
            prediction = rig.ask_image(pixels, scale=scale)
            assert prediction.outputs["best_label"] == label
            assert prediction.outputs["best_score"] == pytest.approx(score, abs=0.03)
            height, width = cv2.imread(str(DATA / "images" / name)).shape[:2]
            x0, y0, x1, y1 = prediction.detail["boxes"][0]["box"]
            assert 0 <= x0 < x1 <= width + 1
            assert 0 <= y0 < y1 <= height + 1
        pixels, scale = photo("china.jpg", rig)
        assert rig.ask_image(pixels, scale=scale).outputs["best_score"] < 0.4


def test_model_that_crashes_its_process_makes_the_lane_unavailable_and_is_named(tmp_path: Path) -> None:
    package = write_package(tmp_path, MODELS / "keyword_scrambled_8bit_CRASHES.tflite", SCRAMBLED, policy="every")
    with LaneRig(package) as rig:
        rig.wait_trust("unavailable")
        assert "kills its process with SIG" in rig.reason
        assert rig.health.value("refused") == 1
        rig.window(*[0.0] * 96)
        rig.wait(lambda: rig.lost == 1)
        pids = set(rig.pids)
    for pid in pids:
        wait_gone(pid)


def test_model_that_the_runtime_refuses_is_named_with_the_reason(tmp_path: Path) -> None:
    given = VWW_INPUT.replace('color = "rgb"', 'color = "gray"').replace("[1, 96, 96, 3]", "[1, 96, 96, 1]")
    package = write_package(tmp_path, MODELS / "person_detect_tflm_REJECTED.tflite", given + VWW_OUTPUT)
    with LaneRig(package) as rig:
        rig.wait_trust("unavailable")
        assert "quantized_dimension must be in range" in rig.reason
        assert rig.health.value("refused") == 1
        assert rig.health.value("crash") == 0


def test_delegate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with LaneRig(vww_package(tmp_path), delegate="/opt/no-such-delegate.so") as rig:
        rig.wait_trust("unavailable")
        assert "/opt/no-such-delegate.so" in rig.reason


def test_both_tflite_runtimes_agree_to_the_last_bit_without_delegates(tmp_path: Path) -> None:
    """EDGE_AGENT_TFLITE_PYTHON names the interpreter of an environment with the other runtime."""
    other = os.environ.get("EDGE_AGENT_TFLITE_PYTHON")
    if not other:
        pytest.skip("EDGE_AGENT_TFLITE_PYTHON is not set: no environment with tflite-runtime")
    rng = np.random.default_rng(3)
    photos = b"".join(shaped(name, ImageView(96, 96))[0] for name in ("china.jpg", "flower.jpg"))
    cases = {
        "vww_96_int8": (VWW_INPUT + VWW_OUTPUT, photos + rng.bytes(20 * 96 * 96 * 3)),
        "kws_ref_model": (KWS, rng.normal(0, 20, (40, 490)).astype("<f4").tobytes()),
        "pretrainedResnet_quant": (RESNET, bytes(3072) + rng.bytes(40 * 3072)),
        "ad01_int8": (TOYCAR, log_mels()),
    }
    for name, (body, inputs) in cases.items():
        package = write_package(tmp_path / name, MODELS / f"{name}.tflite", body)
        raw = tmp_path / f"{name}.raw"
        raw.write_bytes(inputs)
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [other, str(Path(__file__).with_name("answers.py")), str(package), str(raw)],
            env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        backend, theirs = json.loads(done.stdout.splitlines()[-1])
        own_backend, ours = answers(package, inputs)
        assert backend != own_backend
        assert theirs == json.loads(json.dumps(ours))
        assert not any(error for error, _, _ in ours)
