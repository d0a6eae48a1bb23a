"""Test pictures: JPEGs whose brightness tells their number, and the camera source opened on real parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
from doubles.context import DriverContext

from edge_agent.sources import camera
from edge_agent.types import Frame, ImageView

BIKES = Path(__file__).resolve().parents[3] / "shared" / "data" / "video" / "bikes.mp4"
SMALL = ImageView(32, 24, "resize", "area", "gray")
STEP = 8


def jpeg(number: int, *, size: tuple[int, int] = (48, 64)) -> bytes:
    """A grey picture; the same number is the same picture."""
    picture = np.full((*size, 3), (number * STEP) % 256, np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def number_in(frame: Frame) -> int:
    return round(frame.images[0].pixels[0] / STEP)


@contextmanager
def opened(config: dict, *views: ImageView) -> Iterator[tuple[camera.Camera, DriverContext]]:
    context = DriverContext("cam", views=views or (SMALL,))
    source = camera.open(msgspec.convert(config, camera.Config), context)
    try:
        yield source, context
    finally:
        source.close()


def frames(source: camera.Camera, count: int, within_s: float = 15.0) -> list[Frame]:
    """So many frames, or those that came in time."""
    taken: list[Frame] = []
    end = time.monotonic() + within_s
    while len(taken) < count and time.monotonic() < end:
        taken += source.read(0.25)
    return taken


def read_until(
    source: camera.Camera, error: type[Exception], within_s: float = 15.0
) -> tuple[Exception, list[Frame]]:
    """The error that ends it, with the frames before."""
    taken: list[Frame] = []
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            taken += source.read(0.25)
        except error as e:
            return e, taken
    raise AssertionError(f"no {error.__name__} within {within_s} s, {len(taken)} frames")
