"""What a model sees and what is made of its output, against the plain formulas."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import Rejected
from edge_agent.inference.boxes import Grid, detect, suppress
from edge_agent.inference.manifest import ImageInput, Manifest, WindowInput
from edge_agent.inference.outputs import Boxes
from edge_agent.inference.postprocess import Placement, finite_floats, implausible, postprocessor
from edge_agent.inference.preprocess import preprocessor

RNG = np.random.default_rng(7)


def image_input(**changes: object) -> ImageInput:
    color = changes.pop("color", "rgb")
    channels = 1 if color == "gray" else 3
    layout = changes.setdefault("layout", "nhwc")
    shape = (1, 6, 8, channels) if layout == "nhwc" else (1, channels, 6, 8)
    view = {"width": 8, "height": 6, "color": color}
    return msgspec.convert({"kind": "image", "view": view, "dtype": "float32", "shape": shape, **changes}, ImageInput)


def window_input(**changes: object) -> WindowInput:
    given = {"kind": "window", "channels": 2, "length": 5, "dtype": "float32", "shape": (1, 2, 5), **changes}
    return msgspec.convert(given, WindowInput)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize(
    "scaling",
    [
        {},
        {"scale": 1 / 255},
        {"scale": 1 / 255, "mean": 0.5, "std": 0.25},
        {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)},
        {"scale": 0.1, "clip": (2.0, 11.0)},
    ],
)
def test_pixels_become_what_the_formula_says(layout: str, color: str, scaling: dict) -> None:
    if color == "gray" and isinstance(scaling.get("mean"), tuple):
        scaling = {"mean": (1.0,), "std": (4.0,)}
    spec = image_input(layout=layout, color=color, **scaling)
    raw = RNG.integers(0, 256, (6, 8, spec.channels), np.uint8)
    expected = (raw * spec.scale - np.array(spec.mean)) / np.array(spec.std)
    if spec.clip:
        expected = expected.clip(*spec.clip)
    if layout == "nchw":
        raw, expected = raw.transpose(2, 0, 1), expected.transpose(2, 0, 1)
    step = preprocessor(spec, None)
    np.testing.assert_allclose(step.tensor(raw.tobytes())[0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(step.floats(raw.tobytes()), step.tensor(raw.tobytes()))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("mean", [0.0, (0.1, 0.2, 0.3)])
def test_quantized_pixels_are_rounded_and_kept_in_range(layout: str, mean: object) -> None:
    spec = image_input(layout=layout, dtype="int8", scale=1 / 255, mean=mean)
    raw = RNG.integers(0, 256, (6, 8, 3), np.uint8)
    x = raw / 255 - np.array(mean)
    expected = np.clip(np.rint(x / 0.003) - 100, -128, 127).astype(np.int8)
    if layout == "nchw":
        raw, expected = raw.transpose(2, 0, 1), expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(preprocessor(spec, (0.003, -100)).tensor(raw.tobytes())[0], expected)


@pytest.mark.parametrize("layout", ["ncl", "nlc"])
def test_windows_become_what_the_formula_says(layout: str) -> None:
    spec = window_input(layout=layout, scale=2.0, mean=(1.0, 2.0), std=(3.0, 4.0), clip=(-1.0, 2.5), shape=(1, 10))
    raw = RNG.normal(0, 3, (2, 5)).astype("<f4")
    expected = ((raw * 2 - [[1], [2]]) / [[3], [4]]).clip(-1, 2.5)
    expected = expected.T if layout == "nlc" else expected
    np.testing.assert_allclose(
        preprocessor(spec, None).tensor(raw.tobytes()), expected.reshape(1, 10), rtol=1e-6, atol=1e-6
    )


def test_quantized_window_saturates() -> None:
    spec = window_input(dtype="int16", channels=1, length=3, shape=(1, 3))
    raw = np.array([-1e9, 0.5, 1e9], "<f4")
    assert preprocessor(spec, (0.25, 3)).tensor(raw.tobytes()).tolist() == [[-32768, 5, 32767]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_window_that_is_not_finite_is_refused(bad: float) -> None:
    raw = np.array([1, 2, bad, 4, 5, 6, 7, 8, 9, 10], "<f4")
    with pytest.raises(Rejected, match="not finite"):
        preprocessor(window_input(), None).tensor(raw.tobytes())


@pytest.mark.parametrize("size", [0, 39, 41])
def test_input_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(Rejected, match="expected 40"):
        preprocessor(window_input(), None).tensor(bytes(size))


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_nothing_that_is_not_finite_passes(values: list[float]) -> None:
    tensor = np.array(values, np.float32)
    if np.isfinite(tensor).all():
        assert finite_floats(tensor, None) is tensor
    else:
        with pytest.raises(Rejected, match="NaN or infinite"):
            finite_floats(tensor, None)


def test_output_outside_its_plausible_range_is_named() -> None:
    limits = {"score": (0.0, 1.0)}
    assert implausible({"score": 1.0}, limits) == ""
    assert "score 1.5" in implausible({"score": 1.5}, limits)


def manifest(output: dict, *, shape: tuple[int, ...], given: dict | None = None) -> Manifest:
    given = given or {"kind": "window", "channels": 1, "length": 4, "dtype": "float32", "shape": (1, 4)}
    return msgspec.convert(
        {
            "format": 1, "name": "m", "version": "1", "license": "x", "runtime": "onnx", "model": "m",
            "deadline_ms": 1, "policy": "every", "files": [{"path": "m", "size": 0, "sha256": "0" * 64}],
            "input": given, "output": {"dtype": "float32", "shape": shape, **output},
        },
        Manifest,
    )  # fmt: skip


def run(m: Manifest, y: list, floats: list | None = None):
    step = postprocessor(m)
    output = np.array(y, np.float32).reshape(m.output.shape)
    return step(output, lambda: np.array(floats, np.float32), Placement())


def test_classes_say_label_score_index_and_value() -> None:
    m = manifest({"kind": "classes", "labels": ["7", "8", "9"]}, shape=(1, 3))
    verdict = run(m, [0.1, 0.7, 0.2])
    assert verdict.outputs == {"label": "8", "index": 1, "value": 8, "score": pytest.approx(0.7)}
    assert verdict.outputs.keys() == m.output.types().keys()
    assert verdict.detail["scores"]["9"] == pytest.approx(0.2)


def test_several_positions_are_read_as_one_number() -> None:
    labels = [str(n) for n in range(10)]
    m = manifest({"kind": "classes", "labels": labels, "activation": "softmax", "min_score": 0.5}, shape=(1, 3, 10))
    y = np.zeros((3, 10))
    y[[0, 1, 2], [4, 0, 2]] = 9
    verdict = run(m, y.tolist())
    assert verdict.outputs["value"] == 402
    assert verdict.outputs["label"] == "402"
    assert verdict.weak == ""
    y[1, 5] = 8.9
    assert "below 0.5" in run(m, (y / 2).tolist()).weak or "below 0.5" in run(m, y.tolist()).weak


def test_threshold_error_and_values_are_what_they_say() -> None:
    m = manifest({"kind": "threshold", "threshold": 0.5, "element": 2, "activation": "sigmoid"}, shape=(1, 4))
    assert run(m, [9, 9, 0, 9]).outputs == {"score": 0.5, "over": True}
    m = manifest({"kind": "reconstruction_error", "threshold": 2.0}, shape=(1, 4))
    assert run(m, [1, 2, 3, 4], [1, 2, 3, 8]).outputs == {"score": 4.0, "over": True}
    m = manifest({"kind": "values", "names": ["p", "q"]}, shape=(2,))
    assert run(m, [1.5, -2]).outputs == {"p": 1.5, "q": -2.0}


BOXES = Boxes(dtype="float32", shape=(1, 84, 7), labels=("cat", "traffic light"), count_of=("traffic light",))


def test_box_is_decoded_by_its_cell_and_stride_and_put_back_into_the_source() -> None:
    grid = Grid(64, 64, (8, 16, 32))
    assert grid.xy.shape == (84, 2)
    head = np.zeros((84, 7), np.float32)
    # stride 16 begins at 64; row 1, column 2 of its 4 x 4 cells
    head[64 + 1 * 4 + 2] = [0.5, 0.25, math.log(2), math.log(1), 0.8, 0.1, 0.9]
    corners, scores, classes = detect(head, BOXES, grid)
    centre_x, centre_y, width, height = 2.5 * 16, 1.25 * 16, 32, 16
    expected = [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    np.testing.assert_allclose(corners, [expected], rtol=1e-5)
    assert scores.tolist() == [pytest.approx(0.72)]
    assert classes.tolist() == [1]

    view = {"width": 64, "height": 64, "fit": "letterbox_center"}
    given = {"kind": "image", "view": view, "layout": "nchw", "dtype": "float32", "shape": (1, 3, 64, 64)}
    boxes = {"kind": "boxes", "labels": list(BOXES.labels), "count_of": ["traffic light"]}
    step = postprocessor(manifest(boxes, shape=(1, 84, 7), given=given))
    verdict = step(head[None], lambda: head, Placement(0.5, 0, 4))
    x0, y0, x1, y1 = expected
    assert verdict.detail["boxes"][0]["box"] == [x0 / 0.5, (y0 - 4) / 0.5, x1 / 0.5, (y1 - 4) / 0.5]
    assert verdict.outputs == {
        "count": 1, "best_label": "traffic light", "best_score": pytest.approx(0.72),
        "traffic_light_count": 1, "traffic_light_score": pytest.approx(0.72),
    }  # fmt: skip


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000),
            st.integers(0, 2),
        ),
        max_size=30,
        unique_by=lambda box: box[4],
    )
)  # fmt: skip
def test_suppression_keeps_what_the_definition_keeps(boxes: list[tuple[int, ...]]) -> None:
    corners = [[x, y, x + w, y + h] for x, y, w, h, _, _ in boxes]
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -boxes[i][4]):
        rivals = [j for j in kept if boxes[j][5] == boxes[i][5]]
        if all(overlap(corners[i], corners[j]) <= 0.451 for j in rivals):
            kept.append(i)
    found = suppress(
        np.array(corners, np.float32).reshape(-1, 4), np.array([b[4] for b in boxes], np.float32),
        np.array([b[5] for b in boxes]), iou=0.451, most=100,
    )  # fmt: skip
    assert found.tolist() == kept
