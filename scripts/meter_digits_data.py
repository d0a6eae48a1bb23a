"""Pictures of a meter's digit, made from real handwritten digits: which of them train, and how a camera sees them.

The digits are the 1,797 of `sklearn.datasets.load_digits` (UCI, optical recognition of handwritten digits, CC BY
4.0). A digit belongs to one part for ever: what is held out has been seen by no training and no choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]

SPLIT_SEED = 2026
PARTS = {"train": 0.6, "validation": 0.2, "heldout": 0.2}


@dataclass(frozen=True)
class Digits:
    index: Array
    """Place in `load_digits`."""
    images: Array
    """uint8 (n, 8, 8), 255 is ink."""
    labels: Array


def load(part: str) -> Digits:
    """The digits of a part of `PARTS`, drawn for each class apart."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(SPLIT_SEED)
    bounds = np.cumsum([0.0, *PARTS.values()])
    at = list(PARTS).index(part)
    chosen = []
    for label in range(10):
        members = rng.permutation(np.flatnonzero(digits.target == label))
        first, last = np.round(bounds[[at, at + 1]] * len(members)).astype(int)
        chosen.append(members[first:last])
    index = np.sort(np.concatenate(chosen))
    images = np.round(digits.images[index] * (255 / 16)).astype(np.uint8)
    return Digits(index, images, digits.target[index])


@dataclass(frozen=True)
class Scene:
    """How the camera stands and what light there is. `light`: gain, `haze`: stray light in levels."""

    dx: float
    dy: float
    size: float
    """Of the digit, as a share of the picture."""
    degrees: float
    light: float
    haze: float
    slope: float
    """How much brighter the right edge is than the left, as a share."""
    blur: float
    noise: float
    """Standard deviation in levels."""

    @staticmethod
    def draw(rng: np.random.Generator) -> Scene:
        """The scenes that training knows: a display that fills the picture, seen badly at times."""
        return Scene(
            dx=rng.uniform(-0.06, 0.06), dy=rng.uniform(-0.06, 0.06), size=rng.uniform(0.7, 0.9),
            degrees=rng.uniform(-6, 6), light=rng.uniform(0.45, 1.0), haze=rng.uniform(0, 50),
            slope=rng.uniform(-0.3, 0.3), blur=rng.uniform(0, 0.02), noise=rng.uniform(0, 14),
        )  # fmt: skip


def picture(digit: Array, scene: Scene, size: int, rng: np.random.Generator) -> Array:
    """What the camera sees: the digit white on a black drum. uint8 (size, size)."""
    scale = scene.size * size / 8
    turn = cv2.getRotationMatrix2D((3.5, 3.5), scene.degrees, scale)
    turn[:, 2] += (np.array([scene.dx, scene.dy]) + 0.5) * size - 3.5
    plate = cv2.warpAffine(digit.astype(np.float32), turn, (size, size), flags=cv2.INTER_CUBIC)
    if scene.blur > 0:
        plate = cv2.GaussianBlur(plate, (0, 0), scene.blur * size + 0.01)
    light = scene.light * (1 + scene.slope * np.linspace(-0.5, 0.5, size, dtype=np.float32))
    seen = np.clip(plate, 0, 255) * light + scene.haze
    seen += rng.normal(0, scene.noise, seen.shape) if scene.noise else 0.0
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)
