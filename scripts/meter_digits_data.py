"""Pictures of a meter's digit, made from real handwritten digits: which of them train, and how a camera sees them.

The digits are the 1,797 of `sklearn.datasets.load_digits` (UCI, optical recognition of handwritten digits, CC BY
4.0). A digit belongs to one part for ever: what is held out has been seen by no training and no choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]

SIZE = 32
"""Of the picture that the network gets, in pixels."""
SPLIT_SEED = 2026
HELDOUT_SEED = 20263
HELDOUT_SCENES = 20
HELDOUT_BLANKS = 500
"""The figures in the manifests are of every held-out digit in so many scenes of that seed, and so many blanks."""
_RENDERED = 96
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


def pictures(digits: Digits, scenes: int, seed: int) -> tuple[Array, Array]:
    """uint8 (n, SIZE, SIZE) as the camera's view gives them, and their labels; every digit in so many scenes."""
    rng = np.random.default_rng(seed)
    seen = [_view(picture(image, Scene.draw(rng), _RENDERED, rng)) for _ in range(scenes) for image in digits.images]
    return np.array(seen), np.tile(digits.labels, scenes)


def blanks(count: int, seed: int) -> Array:
    """uint8 (count, SIZE, SIZE): a display that shows nothing, lit somehow."""
    rng = np.random.default_rng(seed)
    grounds = [np.full((8, 8), level, np.uint8) for level in rng.integers(0, 256, count)]
    return np.array([_view(picture(ground, _wide(Scene.draw(rng)), _RENDERED, rng)) for ground in grounds])


def _wide(scene: Scene) -> Scene:
    """So near that no edge of the drum is seen."""
    return replace(scene, size=2.0)


def _view(seen: Array) -> Array:
    return cv2.resize(seen, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def as_floats(seen: Array) -> Array:
    """uint8 (n, height, width) -> float32 (n, height, width, 1) in [0, 1]."""
    return (seen[..., None] / 255).astype(np.float32)


def as_int8(seen: Array) -> Array:
    """uint8 (n, height, width) -> int8 (n, height, width, 1): less 128."""
    return (seen.astype(np.int16) - 128).astype(np.int8)[..., None]


def heldout() -> tuple[Array, Array]:
    """The pictures that the manifests' figures are of, and their labels; -1 is a picture of nothing."""
    seen, labels = pictures(load("heldout"), HELDOUT_SCENES, HELDOUT_SEED)
    return np.concatenate([seen, blanks(HELDOUT_BLANKS, HELDOUT_SEED)]), np.append(labels, [-1] * HELDOUT_BLANKS)


def figures(logits: Array, labels: Array, min_score: float) -> dict[str, float]:
    """Shares: `accuracy` of all digits; `read`, with a score of at least `min_score`; `right` of those; and
    `blanks_read`, pictures of nothing with such a score."""
    sure = read(logits, min_score)
    right = logits.argmax(axis=1) == labels
    shown = labels >= 0
    shares = {
        "accuracy": right[shown], "read": sure[shown], "right": right[shown & sure], "blanks_read": sure[~shown],
    }  # fmt: skip
    return {name: round(float(share.mean()), 4) for name, share in shares.items()}


def read(logits: Array, min_score: float) -> Array:
    """bool (n,): whether the best class has a score of at least `min_score`."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    best: Array = (e / e.sum(axis=1, keepdims=True)).max(axis=1)
    return best >= min_score
