"""Boxes from a YOLOX head: decoding and non-maximum suppression, in numpy.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021": every cell of a grid of stride s predicts a centre
offset and the logarithm of a size, both in strides.
"""

from __future__ import annotations

import numpy as np

from edge_agent.inference.outputs import Boxes
from edge_agent.inference.runtimes.runtime import Array


class Grid:
    """The cells of all strides: `xy` float32 (cells, 2) and `stride` float32 (cells,)."""

    def __init__(self, height: int, width: int, strides: tuple[int, ...]) -> None:
        cells, sizes = [], []
        for stride in strides:
            rows, columns = height // stride, width // stride
            y, x = np.mgrid[0:rows, 0:columns]
            cells.append(np.stack((x, y), -1).reshape(-1, 2))
            sizes.append(np.full(rows * columns, stride))
        self.xy = np.concatenate(cells).astype(np.float32)
        self.stride = np.concatenate(sizes).astype(np.float32)


def detect(head: Array, spec: Boxes, grid: Grid) -> tuple[Array, Array, Array]:
    """Corners float32 (n, 4) as x0, y0, x1, y1 in the picture's pixels, scores (n,) and classes (n,), best first.

    `head` is (cells, 5 + classes): centre x, y, log width, height, objectness, class scores.
    """
    objectness = _sigmoid(head[:, 4]) if spec.logits else head[:, 4]
    # a score is at most the objectness: most cells end here
    cells = np.flatnonzero(objectness >= spec.min_score)
    classes = _sigmoid(head[cells, 5:]) if spec.logits else head[cells, 5:]
    if not cells.size:
        return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)
    best = classes.argmax(axis=1)
    scores = objectness[cells] * classes[np.arange(cells.size), best]
    chosen = np.flatnonzero(scores >= spec.min_score)
    cells, best, scores = cells[chosen], best[chosen], scores[chosen]
    corners = _corners(head[cells, :4], grid.xy[cells], grid.stride[cells][:, None])
    kept = suppress(corners, scores, best, iou=spec.iou, most=spec.max_boxes)
    return corners[kept], scores[kept], best[kept]


def suppress(corners: Array, scores: Array, classes: Array, *, iou: float, most: int) -> Array:
    """Indices of the boxes that stay, best first: of two of one class that overlap by more than `iou`, the better."""
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    kept: list[int] = []
    while order.size and len(kept) < most:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        low = np.maximum(corners[first, :2], corners[rest, :2])
        high = np.minimum(corners[first, 2:], corners[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[first] + areas[rest] - shared
        overlaps = (shared > iou * union) & (classes[rest] == classes[first])
        order = rest[~overlaps]
    return np.array(kept, np.int64)


def _corners(raw: Array, xy: Array, stride: Array) -> Array:
    centre = (raw[:, :2] + xy) * stride
    # beyond e^10 strides a size means nothing, and would overflow
    half = np.exp(np.minimum(raw[:, 2:4], 10)) * stride / 2
    return np.concatenate((centre - half, centre + half), axis=1)


def _sigmoid(x: Array) -> Array:
    out: Array = 1 / (1 + np.exp(-x))
    return out
