#!/usr/bin/env python3
"""Renders a video of a meter's display from real digits that no training has seen, and the truth beside it.

    python scripts/render_meter_video.py meter.avi --seconds 60 --fps 10 --seed 1

The display counts up by one, modulo ten, each time with another held-out digit; camera and light drift slowly and
tremble a little from frame to frame, in the bounds of `meter_digits_data.Scene`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
from meter_digits_data import Digits, Scene, load, picture

SIZE = 320
_HOLD_S = (0.6, 1.6)
_PERIOD_S = (7.0, 23.0)


class Truth(msgspec.Struct, frozen=True):
    """What the video shows: `digits[i]` in frame i, drawn from the image `sources[i]` of `load_digits`."""

    video: str
    fps: float
    seed: int
    width: int
    height: int
    digits: list[int]
    sources: list[int]


def render(path: Path, seconds: float, fps: float, seed: int) -> Truth:
    """Writes an MJPEG video (AVI, `SIZE` x `SIZE`) to `path` and its truth to `path` with `.json`."""
    rng = np.random.default_rng(seed)
    digits = load("heldout")
    frames = max(1, round(seconds * fps))
    shown = _schedule(digits, frames, fps, rng)
    camera = _Camera(rng)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (SIZE, SIZE))
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write this video")
    for number, at in enumerate(shown):
        seen = picture(digits.images[at], camera.scene(number / fps), SIZE, rng)
        writer.write(cv2.cvtColor(seen, cv2.COLOR_GRAY2BGR))
    writer.release()
    truth = Truth(
        path.name, fps, seed, SIZE, SIZE,
        [int(digits.labels[at]) for at in shown], [int(digits.index[at]) for at in shown],
    )  # fmt: skip
    path.with_suffix(".json").write_bytes(msgspec.json.encode(truth))
    return truth


def _schedule(digits: Digits, frames: int, fps: float, rng: np.random.Generator) -> list[int]:
    """Which digit each frame shows, as its place in `digits`."""
    shown: list[int] = []
    value = int(rng.integers(10))
    while len(shown) < frames:
        at = int(rng.choice(np.flatnonzero(digits.labels == value)))
        shown += [at] * max(1, round(rng.uniform(*_HOLD_S) * fps))
        value = (value + 1) % 10
    return shown[:frames]


class _Camera:
    """Slow swings of everything a scene has, and a tremble."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._periods_s = rng.uniform(*_PERIOD_S, 7)
        self._phases = rng.uniform(0, 2 * np.pi, 7)

    def scene(self, t_s: float) -> Scene:
        dx, dy, size, turn, light, haze, slope = np.sin(2 * np.pi * t_s / self._periods_s + self._phases)
        shake_x, shake_y, flicker = self._rng.normal(0, 1, 3)
        return Scene(
            dx=0.03 * dx + 0.004 * shake_x, dy=0.03 * dy + 0.004 * shake_y, size=0.8 + 0.05 * size,
            degrees=3 * turn, light=0.75 + 0.2 * light + 0.01 * flicker, haze=20 + 15 * haze, slope=0.2 * slope,
            blur=0.008, noise=6.0,
        )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="such as meter.avi")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    truth = render(args.path, args.seconds, args.fps, args.seed)
    print(json.dumps({"video": str(args.path), "frames": len(truth.digits), "fps": truth.fps}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
