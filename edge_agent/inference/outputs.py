"""What becomes of a model's output tensor: the kinds of `[output]` in a manifest, and the signals each gives.

    kind = "classes"                  # the best of several classes
    shape = [1, 10]                   # (.., classes); with more positions than one, a text is read class by class
    labels = ["0", "1", ...]          # or labels_file = "labels.txt", one a line, listed in [[files]]
    activation = "softmax"            # (optional) "none" (the model gives probabilities), "softmax" or "sigmoid"
    min_score = 0.5                   # (optional) below it the prediction is invalid: nothing was recognised

    signals: label (string, positions joined), score (double, that of the worst position), index (int, one position
    only), value (int, where every label is a digit or a whole number)

    kind = "threshold"                # one number against a limit
    element = 1                       # (optional) which element of the flattened tensor
    activation = "none"               # (optional) "none", "softmax" or "sigmoid"
    threshold = 0.5

    signals: score (double), over (bool: score >= threshold)

    kind = "reconstruction_error"     # an autoencoder: mean squared error between its input and output
    threshold = 0.8                   # (optional)

    signals: score (double), over (bool, with a threshold)

    kind = "boxes"                    # a detector in the YOLOX layout: (1, cells, 5 + classes), undecoded boxes
    labels_file = "labels.txt"        # or labels
    strides = [8, 16, 32]             # (optional)
    min_score = 0.3                   # (optional) objectness x class
    iou = 0.45                        # (optional) of two boxes of a class, above it the lesser one is dropped
    max_boxes = 100                   # (optional)
    logits = false                    # (optional) true: objectness and classes still need the sigmoid
    count_of = ["person"]             # (optional) classes that rules want to see

    signals: count (int), best_label (string, "" for none), best_score (double, 0 for none), and for each class of
    `count_of` <class>_count (int) and <class>_score (double, 0 for none); boxes are in the prediction's detail

    kind = "values"                   # the tensor's elements by name
    names = ["load", "temperature"]   # one an element

    signals: each name (double)
"""

from __future__ import annotations

import re
from math import prod
from typing import Annotated, Literal

from msgspec import Meta

from edge_agent.inference.tensor_spec import TensorSpec

Share = Annotated[float, Meta(ge=0, le=1)]
Activation = Literal["none", "softmax", "sigmoid"]
SignalPart = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="lower case letters, digits and _")]
Stride = Annotated[int, Meta(ge=1, le=1024)]
Labels = tuple[str, ...]

_WHOLE = re.compile(r"-?[0-9]{1,15}")


class Classes(TensorSpec, frozen=True, kw_only=True, tag="classes", tag_field="kind"):
    labels: Labels = ()
    labels_file: str = ""
    activation: Activation = "none"
    min_score: Share = 0.0

    @property
    def classes(self) -> int:
        return self.shape[-1]

    @property
    def positions(self) -> int:
        return prod(self.shape[:-1])

    @property
    def numeric(self) -> bool:
        """Every text that can be read is a whole number."""
        digits = all(label.isdecimal() and label.isascii() for label in self.labels)
        return digits or (self.positions == 1 and all(_WHOLE.fullmatch(label) for label in self.labels))

    def types(self) -> dict[str, str]:
        out = {"label": "string", "score": "double"}
        if self.positions == 1:
            out["index"] = "int"
        return out | ({"value": "int"} if self.numeric else {})


class Threshold(TensorSpec, frozen=True, kw_only=True, tag="threshold", tag_field="kind"):
    threshold: float
    element: Annotated[int, Meta(ge=0)] = 0
    activation: Activation = "none"

    def types(self) -> dict[str, str]:
        return {"score": "double", "over": "bool"}


class ReconstructionError(TensorSpec, frozen=True, kw_only=True, tag="reconstruction_error", tag_field="kind"):
    threshold: float | None = None

    def types(self) -> dict[str, str]:
        return {"score": "double"} | ({} if self.threshold is None else {"over": "bool"})


class Boxes(TensorSpec, frozen=True, kw_only=True, tag="boxes", tag_field="kind"):
    labels: Labels = ()
    labels_file: str = ""
    strides: Annotated[tuple[Stride, ...], Meta(min_length=1, max_length=8)] = (8, 16, 32)
    min_score: Share = 0.3
    iou: Share = 0.45
    max_boxes: Annotated[int, Meta(ge=1, le=1000)] = 100
    logits: bool = False
    count_of: Labels = ()

    @property
    def classes(self) -> int:
        return self.shape[-1] - 5

    def types(self) -> dict[str, str]:
        out = {"count": "int", "best_label": "string", "best_score": "double"}
        for label in self.count_of:
            part = signal_part(label)
            out |= {f"{part}_count": "int", f"{part}_score": "double"}
        return out


class Values(TensorSpec, frozen=True, kw_only=True, tag="values", tag_field="kind"):
    names: Annotated[tuple[SignalPart, ...], Meta(min_length=1, max_length=1000)]

    def types(self) -> dict[str, str]:
        return dict.fromkeys(self.names, "double")


Output = Classes | Threshold | ReconstructionError | Boxes | Values


def signal_part(label: str) -> str:
    """`Traffic light` -> `traffic_light`: a class as a part of a signal's name."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
