"""From a camera's picture to the image of one view: size, letterbox, order of colours; uint8, in a child."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from edge_agent.sources.camera_wire import ImageHead
from edge_agent.sources.capture_child import Picture
from edge_agent.types import ImageView

_INTERPOLATION = {
    "area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST, "cubic": cv2.INTER_CUBIC,
}  # fmt: skip
_COLOR = {"rgb": cv2.COLOR_BGR2RGB, "gray": cv2.COLOR_BGR2GRAY}


class Layout(NamedTuple):
    """Where the picture lies in the image: size in pixels, and its top left corner."""

    width: int
    height: int
    scale: float
    dx: int = 0
    dy: int = 0


class Shaper:
    """Makes the images of one view. What it returns is valid until the next call."""

    def __init__(self, view: ImageView) -> None:
        self._view = view
        self._source = (0, 0)
        self._layout = Layout(0, 0, 1.0)
        self._canvas = np.empty((0, 0, 3), np.uint8)
        self._planes = np.empty((3, 0, 0), np.uint8)

    def shape(self, picture: Picture) -> tuple[ImageHead, Picture]:
        """`picture` is BGR; the image is (height, width, channels), or of a planar view (channels, height, width)."""
        if picture.shape[:2] != self._source:
            self._fit(picture.shape[0], picture.shape[1])
        image = self._placed(picture)
        if self._view.color != "bgr":
            image = cv2.cvtColor(image, _COLOR[self._view.color])
        layout = self._layout
        channels = 1 if self._view.color == "gray" else 3
        head = ImageHead(image.shape[0], image.shape[1], channels, layout.scale, layout.dx, layout.dy)
        if self._view.planar and channels > 1:
            return head, self._split(image)
        return head, np.ascontiguousarray(image)

    def _split(self, image: Picture) -> Picture:
        if self._planes.shape[1:] != image.shape[:2]:
            self._planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, list(self._planes))
        return self._planes

    def _fit(self, height: int, width: int) -> None:
        self._source = (height, width)
        self._layout = layout_of(self._view, height, width)
        if self._view.fit != "none":
            self._canvas = np.full((self._view.height, self._view.width, 3), self._view.pad, np.uint8)

    def _placed(self, picture: Picture) -> Picture:
        if self._view.fit == "none":
            return picture
        width, height, _, dx, dy = self._layout
        place = self._canvas[dy : dy + height, dx : dx + width]
        cv2.resize(picture, (width, height), dst=place, interpolation=_INTERPOLATION[self._view.interpolation])
        return self._canvas


def layout_of(view: ImageView, height: int, width: int) -> Layout:
    """Sizes are cut, not rounded, as YOLOX's own preprocessing does."""
    if view.fit == "none":
        return Layout(width, height, 1.0)
    if view.fit == "resize":
        return Layout(view.width, view.height, view.width / width)
    scale = min(view.height / height, view.width / width)
    placed_width, placed_height = max(int(width * scale), 1), max(int(height * scale), 1)
    if view.fit == "letterbox":
        return Layout(placed_width, placed_height, scale)
    dx, dy = (view.width - placed_width) // 2, (view.height - placed_height) // 2
    return Layout(placed_width, placed_height, scale, dx, dy)
