"""The shipped anomaly model tells sick motors from healthy ones it has never met, over the sensors' whole range."""

# ruff: noqa: E402 - what follows the check for it

from __future__ import annotations

from pathlib import Path

import pytest

for needed in ("numpy", "onnxruntime"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")

import numpy as np
from int8.runtimes import onnx_outputs
from motor_lives import CHANNELS, FAULTS, HELDOUT, LENGTH, STRIDE, auc, errors, lives, scaled

from edge_agent.inference.loaded_model import LoadedModel
from edge_agent.inference.package import load_package
from edge_agent.inference.wire import Ask, Load
from edge_agent.sources.motor_sensors import FIELDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "models/motor-anomaly/1.0.0"
FLOAT = ROOT / "tests/models/float/motor-anomaly.onnx"
SOME = HELDOUT[:5]


@pytest.fixture(scope="module")
def manifest():
    return load_package(PACKAGE).manifest


def scores(path, raw, manifest):
    x = scaled(raw, np.array(manifest.input.mean), np.array(manifest.input.std))
    return errors(x, onnx_outputs(path, x))


def test_manifest_takes_the_motors_fields_as_the_engine_collects_them(manifest):
    assert (manifest.input.channels, manifest.input.length, manifest.input.stride) == (len(CHANNELS), LENGTH, STRIDE)
    assert tuple(FIELDS) == CHANNELS


@pytest.mark.slow
def test_healthy_motors_seldom_alarm_and_sick_ones_do(manifest):
    threshold = manifest.output.threshold
    healthy = scores(PACKAGE / "model.onnx", lives(SOME), manifest)
    assert (healthy >= threshold).mean() < 0.002
    running = scores(PACKAGE / "model.onnx", lives(SOME, stops=False), manifest)
    for name, least in (("bearing_wear_30", 0.999), ("overheating_50", 0.98), ("current_drift_20", 0.99)):
        sick = scores(PACKAGE / "model.onnx", lives(SOME, [FAULTS[name]], stops=False), manifest)
        assert auc(running, sick) > least, name
        assert (sick >= threshold).mean() > 0.8, name


@pytest.mark.parametrize("field", CHANNELS)
def test_int8_does_not_saturate_anywhere_in_the_sensors_range(field, manifest):
    raw = lives(HELDOUT[:2], stops=False)[::30]
    spec = FIELDS[field]
    for level in np.linspace(spec.min, spec.max, 15):
        raw[:, CHANNELS.index(field)] = level
        int8, floats = (scores(path, raw, manifest) for path in (PACKAGE / "model.onnx", FLOAT))
        # within 10 %, or a tenth of what raises an alarm
        close = pytest.approx(np.median(floats), rel=0.1, abs=manifest.output.threshold / 10)
        assert np.median(int8) == close, level
    assert np.median(int8) > manifest.output.threshold


def test_worse_is_never_scored_as_better(manifest):
    """From healthy to the end of the range and beyond the clip, the score of the worst sensor does not fall."""
    raw = lives(HELDOUT[:1], stops=False)[::40]
    for field, levels in (("temp", np.linspace(75, 180, 12)), ("vibration", np.linspace(2.0, 25.0, 12))):
        raw[:, CHANNELS.index(field)] = levels[0]
        last = 0.0
        for level in levels:
            raw[:, CHANNELS.index(field)] = level
            score = float(np.median(scores(PACKAGE / "model.onnx", raw, manifest)))
            assert score >= 0.98 * last, (field, level)
            last = score


def test_agents_own_processing_gives_the_same_scores(manifest):
    raw = lives(HELDOUT[:1])[::50]
    model = LoadedModel(Load(0, str(PACKAGE / manifest.model), manifest, 1))
    answers = [model.answer(Ask(0), memoryview(np.ascontiguousarray(one).tobytes())) for one in raw]
    expected = scores(PACKAGE / "model.onnx", raw, manifest)
    assert [answer.outputs["score"] for answer in answers] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-3)
    assert [answer.outputs["over"] for answer in answers] == (expected >= manifest.output.threshold).tolist()


@pytest.mark.slow
def test_heldout_figures_of_the_manifest_hold(manifest):
    path, told = PACKAGE / "model.onnx", manifest.heldout
    healthy, running = lives(HELDOUT), scores(path, lives(HELDOUT, stops=False), manifest)
    assert len(healthy) == told["windows"]
    alarms = (scores(path, healthy, manifest) >= manifest.output.threshold).mean()
    assert alarms == pytest.approx(told["false_alarms"], abs=2e-4)
    for name, fault in FAULTS.items():
        sick = scores(path, lives(HELDOUT, [fault], stops=False), manifest)
        assert auc(running, sick) == pytest.approx(told[f"auc_{name}"], abs=0.003), name
        assert (sick >= manifest.output.threshold).mean() == pytest.approx(told[f"found_{name}"], abs=0.003), name
