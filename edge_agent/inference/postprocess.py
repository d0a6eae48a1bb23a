"""From a model's output tensor to what rules and people see. An output that is no number makes no statement."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edge_agent.errors import Rejected
from edge_agent.inference.boxes import Grid, detect
from edge_agent.inference.manifest import ImageInput, Manifest
from edge_agent.inference.outputs import (
    Boxes,
    Classes,
    Output,
    ReconstructionError,
    Threshold,
    Values,
    signal_part,
)
from edge_agent.inference.runtimes.runtime import Array
from edge_agent.inference.tensor_spec import Quantization
from edge_agent.inference.wire import Outputs


class Placement(NamedTuple):
    """Source pixels times `scale` plus (`dx`, `dy`) are pixels of the picture that was inferred."""

    scale: float = 1.0
    dx: int = 0
    dy: int = 0


class Verdict(NamedTuple):
    """`detail` is for people. `weak` says why the model recognised nothing, where it did not."""

    outputs: Outputs
    detail: dict[str, object] | None = None
    weak: str = ""


Step = Callable[[Array, Callable[[], Array], Placement], Verdict]


def postprocessor(manifest: Manifest) -> Step:
    """(output float32, the input's floats on demand, placement) -> verdict."""
    output = manifest.output
    steps: dict[type[Output], Callable[[Any], Step]] = {
        Classes: _classes, Threshold: _threshold, ReconstructionError: _reconstruction, Values: _values,
    }  # fmt: skip
    if isinstance(output, Boxes):
        return _boxes(output, manifest)
    return steps[type(output)](output)


def finite_floats(tensor: Array, quantization: Quantization | None) -> Array:
    """float32 values of an output tensor. Raises Rejected when one of them is NaN or infinite."""
    if quantization is not None:
        scale, zero = quantization
        return (tensor.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    # the sum of squares carries every NaN and infinity, in a third of the time of asking each element; it may
    # itself be beyond float32
    if not math.isfinite(np.vdot(tensor, tensor)) and not np.isfinite(tensor).all():
        bad = int(tensor.size - np.isfinite(tensor).sum())
        raise Rejected(f"{bad} of {tensor.size} output values are NaN or infinite", hint="the model is broken")
    return tensor


def implausible(outputs: Outputs, limits: dict[str, tuple[float, float]]) -> str:
    """Which output is outside its plausible range, in words; empty when none is."""
    for name, (least, most) in limits.items():
        value = outputs.get(name)
        if isinstance(value, int | float) and not least <= value <= most:
            return f"{name} {value:g} is outside its plausible range {least:g} .. {most:g}"
    return ""


def _classes(spec: Classes) -> Step:
    def step(y: Array, _floats: Callable[[], Array], _placement: Placement) -> Verdict:
        scores = _activated(y.reshape(spec.positions, spec.classes), spec.activation)
        best = scores.argmax(axis=1)
        label = "".join(spec.labels[i] for i in best)
        score = float(scores.max(axis=1).min())
        outputs: Outputs = {"label": label, "score": score}
        if spec.positions == 1:
            outputs["index"] = int(best[0])
        if spec.numeric:
            outputs["value"] = int(label)
        weak = f"the best score is {score:.3f}, below {spec.min_score:g}" if score < spec.min_score else ""
        return Verdict(outputs, {"scores": _by_label(spec, scores)}, weak)

    return step


def _by_label(spec: Classes, scores: Array) -> dict[str, float] | list[float]:
    """All class scores of one position; of several, the best of each."""
    if spec.positions == 1:
        return dict(zip(spec.labels, scores[0].tolist(), strict=True))
    best: list[float] = scores.max(axis=1).tolist()
    return best


def _threshold(spec: Threshold) -> Step:
    def step(y: Array, _floats: Callable[[], Array], _placement: Placement) -> Verdict:
        score = float(_activated(y.reshape(1, -1), spec.activation)[0, spec.element])
        return Verdict({"score": score, "over": score >= spec.threshold})

    return step


def _reconstruction(spec: ReconstructionError) -> Step:
    def step(y: Array, floats: Callable[[], Array], _placement: Placement) -> Verdict:
        error = (floats().reshape(-1) - y.reshape(-1)).astype(np.float64)
        score = float(np.mean(error * error))
        outputs: Outputs = {"score": score}
        if spec.threshold is not None:
            outputs["over"] = score >= spec.threshold
        return Verdict(outputs)

    return step


def _values(spec: Values) -> Step:
    def step(y: Array, _floats: Callable[[], Array], _placement: Placement) -> Verdict:
        return Verdict(dict(zip(spec.names, y.reshape(-1).tolist(), strict=True)))

    return step


def _boxes(spec: Boxes, manifest: Manifest) -> Step:
    if not isinstance(manifest.input, ImageInput):
        raise Rejected("boxes of a window", hint="boxes need an image")
    view = manifest.input.view
    grid = Grid(view.height, view.width, spec.strides)
    limit = np.array((view.width, view.height) * 2, np.float32)

    def step(y: Array, _floats: Callable[[], Array], placement: Placement) -> Verdict:
        corners, scores, classes = detect(y[0], spec, grid)
        offset = np.array((placement.dx, placement.dy) * 2, np.float32)
        corners = (np.clip(corners, 0, limit) - offset) / np.float32(placement.scale)
        labels = [spec.labels[i] for i in classes]
        outputs = _counted(spec, labels, scores.tolist())
        found = zip(labels, scores.tolist(), corners.tolist(), strict=True)
        shown = [{"label": label, "score": score, "box": [round(c, 1) for c in box]} for label, score, box in found]
        return Verdict(outputs, {"boxes": shown})

    return step


def _counted(spec: Boxes, labels: list[str], scores: list[float]) -> Outputs:
    """Boxes come best first."""
    outputs: Outputs = {
        "count": len(labels),
        "best_label": labels[0] if labels else "",
        "best_score": scores[0] if scores else 0.0,
    }
    for label in spec.count_of:
        of_label = [score for found, score in zip(labels, scores, strict=True) if found == label]
        outputs[f"{signal_part(label)}_count"] = len(of_label)
        outputs[f"{signal_part(label)}_score"] = max(of_label, default=0.0)
    return outputs


def _activated(y: Array, activation: str) -> Array:
    """Along the last axis."""
    if activation == "softmax":
        e = np.exp(y - y.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
    elif activation == "sigmoid":
        y = 1 / (1 + np.exp(-y))
    return y
