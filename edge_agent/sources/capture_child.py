"""Pictures by OpenCV: devices, network streams, files, and JPEGs one by one. Runs in the capture child only.

Facts that shaped it: timeouts act only as constructor parameters; a dead capture never recovers; a damaged frame
cannot be told from the result of a read, so streams of JPEGs do not come this way.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

# the transport must be set before cv2 is imported
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.children import die_with
from edge_agent.sources.camera_wire import Settings
from edge_agent.sources.mjpeg import JpegSplitter
from edge_agent.sources.mjpeg_inputs import CaptureError, CommandStream, HttpStream, Stream

Picture = npt.NDArray[Any]
"""uint8 (height, width, 3), BGR."""
_FILE_FPS = 25.0
"""Where a file does not say."""


class EndOfFile(Exception):
    """The file has been read to its end."""


class Capture(Protocol):
    """`advance` waits for the next picture; False: nothing whole has come yet. `picture` decodes it, None when it is
    broken. `broken` counts all that were. Raises CaptureError."""

    @property
    def broken(self) -> int: ...
    def advance(self) -> bool: ...
    def picture(self) -> Picture | None: ...


def open_capture(settings: Settings, timeout_s: float) -> Capture:
    """Raises CaptureError."""
    cv2.setNumThreads(1)
    target = settings.target
    if settings.kind == "http":
        return JpegCapture(HttpStream(target[0], timeout_s))
    if settings.kind == "command":
        ours = os.getpid()
        return JpegCapture(CommandStream(target, timeout_s, lambda: die_with(ours)))
    if settings.kind == "device":
        return VideoCapture(_device(target[0], settings), "the device")
    if settings.kind == "file":
        return FileCapture(target[0], settings)
    return VideoCapture(_network(target[0], settings), "the stream")


class VideoCapture:
    """A device or a network stream."""

    def __init__(self, capture: Any, what: str) -> None:
        self.broken = 0
        self._capture = capture
        self._what = what
        if not capture.isOpened():
            raise CaptureError(f"{what} cannot be opened", "is the camera plugged in, on, and free?")

    def advance(self) -> bool:
        if not self._capture.grab():
            raise CaptureError(f"{self._what} gives no more pictures", "check the camera and its cable or network")
        return True

    def picture(self) -> Picture | None:
        ok, picture = self._capture.retrieve()
        self.broken += not ok
        return picture if ok else None


class FileCapture:
    """A video file, from its start again when `loop`. `interval_ns` is the time between two pictures."""

    def __init__(self, path: str, settings: Settings) -> None:
        self.broken = 0
        self._path = path
        self._loop = settings.loop
        self._options = [cv2.CAP_PROP_N_THREADS, settings.decode_threads] if settings.decode_threads else []
        self._capture = self._open()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.interval_ns = round(1e9 / (fps if 0 < fps < 1000 else _FILE_FPS))

    def advance(self) -> bool:
        if self._capture.grab():
            return True
        if not self._loop:
            raise EndOfFile
        self._capture.release()
        self._capture = self._open()
        if not self._capture.grab():
            raise CaptureError(f"{self._path} holds no picture", "is it a video?")
        return True

    def picture(self) -> Picture | None:
        ok, picture = self._capture.retrieve()
        self.broken += not ok
        return picture if ok else None

    def _open(self) -> Any:
        capture = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG, self._options)
        if not capture.isOpened():
            raise CaptureError(f"{self._path} cannot be opened as a video", "check the path and the format")
        return capture


class JpegCapture:
    """A stream of JPEGs; of those that came together only the newest is a picture."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._splitter = JpegSplitter()
        self._undecodable = 0
        self._jpeg = b""

    @property
    def broken(self) -> int:
        return self._splitter.broken + self._undecodable

    def advance(self) -> bool:
        pictures = self._splitter.feed(self._stream.read())
        if pictures:
            self._jpeg = pictures[-1]
        return bool(pictures)

    def picture(self) -> Picture | None:
        picture: Picture | None = cv2.imdecode(np.frombuffer(self._jpeg, np.uint8), cv2.IMREAD_COLOR)
        self._undecodable += picture is None
        return picture


def _device(name: str, settings: Settings) -> Any:
    options = []
    if settings.size:
        options += [cv2.CAP_PROP_FRAME_WIDTH, settings.size[0], cv2.CAP_PROP_FRAME_HEIGHT, settings.size[1]]
    if settings.fps:
        options += [cv2.CAP_PROP_FPS, round(settings.fps)]
    if settings.fourcc:
        options += [cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.fourcc)]
    return cv2.VideoCapture(int(name) if name.isdecimal() else name, cv2.CAP_V4L2, options)


def _network(url: str, settings: Settings) -> Any:
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, settings.open_timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, settings.read_timeout_ms,
    ]  # fmt: skip
    return cv2.VideoCapture(url, cv2.CAP_FFMPEG, options)
