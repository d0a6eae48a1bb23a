"""The shipped readers of a meter read what no training has seen, as well as their manifests say."""

# ruff: noqa: E402 - what follows the check for it

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

for needed in ("numpy", "cv2", "onnxruntime", "sklearn"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")

import cv2
import numpy as np
from int8.runtimes import litert_outputs, onnx_outputs
from meter_digits_data import PARTS, SIZE, as_floats, as_int8, blanks, figures, heldout, load, picture, read
from render_meter_video import render

from edge_agent.inference.loaded_model import LoadedModel
from edge_agent.inference.package import load_package
from edge_agent.inference.wire import Ask, Load

ROOT = Path(__file__).resolve().parents[2]
ONNX = ROOT / "models/meter-digits/1.0.0"
LITERT = ROOT / "models/meter-digits-litert/1.0.0"
FLOAT = ROOT / "tests/models/float/meter-digits.onnx"


def onnx_logits(path, seen):
    return onnx_outputs(path, as_floats(seen).transpose(0, 3, 1, 2))


def litert_logits(seen):
    pytest.importorskip("ai_edge_litert", reason="ai_edge_litert is not installed")
    return litert_outputs(LITERT / "model.tflite", as_int8(seen))


@pytest.fixture(scope="module")
def unseen():
    """Pictures, labels and what each network says of them."""
    seen, labels = heldout()
    return seen, labels, onnx_logits(ONNX / "model.onnx", seen), onnx_logits(FLOAT, seen)


def test_parts_of_the_digits_have_no_digit_in_common():
    parts = [set(load(part).index.tolist()) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


@pytest.mark.slow
def test_heldout_figures_of_the_onnx_manifest_hold(unseen):
    _, labels, logits, _ = unseen
    manifest = load_package(ONNX).manifest
    measured = figures(logits, labels, manifest.output.min_score)
    assert measured == pytest.approx({name: manifest.heldout[name] for name in measured}, abs=0.002)
    assert measured["accuracy"] > 0.99
    assert measured["blanks_read"] == 0


@pytest.mark.slow
def test_heldout_figures_of_the_litert_manifest_hold(unseen):
    seen, labels, _, _ = unseen
    manifest = load_package(LITERT).manifest
    measured = figures(litert_logits(seen), labels, manifest.output.min_score)
    assert measured == pytest.approx({name: manifest.heldout[name] for name in measured}, abs=0.002)


@pytest.mark.slow
def test_int8_says_what_float_says(unseen):
    _, labels, logits, floats = unseen
    assert (logits.argmax(axis=1) == floats.argmax(axis=1))[labels >= 0].mean() > 0.995
    assert np.abs(logits - floats).mean() < 0.03 * floats.std()


@pytest.mark.slow
def test_both_files_hold_the_same_numbers(unseen):
    seen, _, logits, _ = unseen
    some = slice(None, None, 20)
    step = np.abs(np.diff(np.unique(logits))).min()
    assert np.abs(litert_logits(seen[some]) - logits[some]).max() <= 3.01 * step


def test_int8_keeps_up_with_any_picture_a_camera_can_give():
    """Black, white, inverted and noise: ranges were calibrated beyond what the meter mostly shows."""
    rng = np.random.default_rng(5)
    flat = np.stack([np.full((SIZE, SIZE), level, np.uint8) for level in (0, 40, 128, 255)])
    noise = rng.integers(0, 256, (20, SIZE, SIZE), dtype=np.uint8)
    inverted = 255 - np.array([cv2.resize(image, (SIZE, SIZE)) for image in load("heldout").images[:50]])
    strange = np.concatenate([flat, noise, inverted])
    floats = onnx_logits(FLOAT, strange)
    assert np.abs(onnx_logits(ONNX / "model.onnx", strange) - floats).max() < 0.1 * np.ptp(floats)


def test_display_that_shows_nothing_is_not_read():
    assert not read(onnx_logits(ONNX / "model.onnx", blanks(100, seed=77)), 0.6).any()


@pytest.mark.parametrize("package", [ONNX, LITERT], ids=["onnx", "litert"])
def test_video_of_the_meter_is_read_frame_by_frame(package, tmp_path):
    """The whole way of a frame: video, the camera's view, the package's processing, the value that rules see."""
    if package is LITERT:
        pytest.importorskip("ai_edge_litert", reason="ai_edge_litert is not installed")
    truth = render(tmp_path / "meter.avi", seconds=60, fps=5, seed=4)
    manifest = load_package(package).manifest
    model = LoadedModel(Load(0, str(package / manifest.model), manifest, 1))
    answers = [model.answer(Ask(0), memoryview(gray(frame))) for frame in frames(tmp_path / "meter.avi")]
    assert len(answers) == len(truth.digits) == 300
    values = [answer.outputs.get("value") for answer in answers]
    assert sum(a == b for a, b in zip(values, truth.digits, strict=True)) >= 0.95 * 300
    wrong = [v for v, t in zip(values, truth.digits, strict=True) if v is not None and v != t]
    assert len(wrong) <= 0.02 * 300


def frames(path):
    video = cv2.VideoCapture(str(path))
    while True:
        more, frame = video.read()
        if not more:
            return
        yield frame


def gray(frame):
    small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return small.tobytes()


def test_video_is_of_heldout_digits_and_its_truth_stands_beside_it(tmp_path):
    path = tmp_path / "meter.avi"
    truth = render(path, seconds=6, fps=10, seed=9)
    assert msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=type(truth)) == truth
    digits = load("heldout")
    assert set(truth.sources) <= set(digits.index.tolist())
    labels = dict(zip(digits.index.tolist(), digits.labels.tolist(), strict=True))
    assert [labels[source] for source in truth.sources] == truth.digits
    assert len(set(truth.digits)) >= 4


def test_same_seed_renders_the_same_video(tmp_path):
    render(tmp_path / "a.avi", seconds=1, fps=10, seed=3)
    render(tmp_path / "b.avi", seconds=1, fps=10, seed=3)
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()


def test_light_and_place_of_a_picture_do_what_they_say():
    from meter_digits_data import Scene

    digit = load("heldout").images[0]
    rng = np.random.default_rng(0)
    still = {"dx": 0, "dy": 0, "size": 0.8, "degrees": 0, "light": 1, "haze": 0, "slope": 0, "blur": 0, "noise": 0}
    middle = picture(digit, Scene(**still), 96, rng).astype(int)
    hazy = picture(digit, Scene(**still | {"haze": 30}), 96, rng).astype(int)
    moved = picture(digit, Scene(**still | {"dx": 0.05}), 96, rng).astype(int)
    assert hazy.min() == middle.min() + 30
    columns = np.arange(96)
    shift = (moved.sum(0) @ columns) / moved.sum() - (middle.sum(0) @ columns) / middle.sum()
    assert shift == pytest.approx(0.05 * 96, abs=0.6)
