"""The capture child: `python -m edge_agent.sources.camera_child FD PARENT`. One camera, decoded and shaped.

It decodes, resizes and orders colours for every view that was asked for, and sends uint8 pixels. It may hang in a
driver or a decoder, or be taken down by one: the parent watches the age of what it sends and kills it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import zlib

from edge_agent.children import die_with, yield_to_others
from edge_agent.sources.camera_wire import (
    LENGTH,
    SETTINGS_LIMIT,
    Ended,
    FrameHead,
    Idle,
    Seen,
    Settings,
    decode_settings,
    packed,
)
from edge_agent.sources.capture_child import EndOfFile, FileCapture, Picture, open_capture
from edge_agent.sources.geometry_child import Shaper
from edge_agent.sources.mjpeg_inputs import CaptureError

_NICE = 5
_OOM_SCORE = 300
_IDLE_NS = 1_000_000_000
_PATIENCE_S = 0.5


class ParentGone(Exception):
    """Nobody takes frames any more."""


def main(fd: int, parent: int) -> None:
    die_with(parent)
    yield_to_others(nice=_NICE, oom_score=_OOM_SCORE)
    with socket.socket(fileno=fd) as connection:
        try:
            settings = _settings(connection)
            connection.sendall(packed(_capture(connection, settings)))
        except (ParentGone, ConnectionError):
            pass
    # a decoder that hangs must not keep the process
    os._exit(0)


def _settings(connection: socket.socket) -> Settings:
    size = LENGTH.unpack(_exactly(connection, LENGTH.size))[0]
    if size > SETTINGS_LIMIT:
        raise ParentGone
    settings: Settings = decode_settings(_exactly(connection, size))
    return settings


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ParentGone
    return data


def _capture(connection: socket.socket, settings: Settings) -> Ended:
    """Until the camera ends; what to say last."""
    try:
        FrameSender(connection, settings).run()
    except EndOfFile:
        return Ended(finished=True)
    except CaptureError as e:
        return Ended(False, e.reason, e.hint)
    raise AssertionError("a capture ends by an exception")


class FrameSender:
    """Takes pictures as they come and sends those that are new, due and waited for."""

    def __init__(self, connection: socket.socket, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._capture = open_capture(settings, settings.open_timeout_ms / 1e3)
        self._interval_ns = self._capture.interval_ns if isinstance(self._capture, FileCapture) else 0
        self._shapers = [Shaper(view) for view in settings.views]
        self._start_ns = time.monotonic_ns()
        # often enough for a parent that waits for `stall`
        self._idle_ns = min(_IDLE_NS, settings.read_timeout_ms * 1_000_000 // 3)
        self._credits = 0
        self._number = -1
        self._next_ns = 0
        self._spoke_ns = self._start_ns
        self._picture_crc = -1
        self._pictures = self._repeated = self._told_broken = 0

    def run(self) -> None:
        """Never returns: raises EndOfFile, CaptureError or ParentGone."""
        while True:
            if not self._capture.advance():
                self._stay_in_touch()
                continue
            self._number += 1
            self._pictures += 1
            if self._due() and self._waited_for():
                picture = self._capture.picture()
                if picture is not None:
                    self._offer(picture)
            self._stay_in_touch()

    def _due(self) -> bool:
        """Is the picture's time come, and not too soon after the last one? Waits for the time of a file's."""
        event_ns = self._number * self._interval_ns
        now_ns = time.monotonic_ns()
        if self._interval_ns and self._settings.speed:
            due_ns = self._start_ns + round(event_ns / self._settings.speed)
            if due_ns > now_ns:
                self._sleep_until(due_ns)
        if not self._settings.max_fps:
            return True
        at_ns = event_ns if self._interval_ns else now_ns
        spacing_ns = round(1e9 / self._settings.max_fps)
        # a quarter of an interval early is in time: pictures do not come on the dot
        if at_ns < self._next_ns - spacing_ns // 4:
            return False
        self._next_ns = max(self._next_ns + spacing_ns, at_ns)
        return True

    def _waited_for(self) -> bool:
        """Whether the parent takes a frame now; a file whose every frame counts waits until it does."""
        while True:
            self._take_credits(0.0)
            if self._credits:
                return True
            if not self._settings.every_frame:
                return False
            self._take_credits(_PATIENCE_S)

    def _sleep_until(self, due_ns: int) -> None:
        while (left_s := (due_ns - time.monotonic_ns()) / 1e9) > 0:
            self._take_credits(min(left_s, _PATIENCE_S))
            self._stay_in_touch()

    def _take_credits(self, timeout_s: float) -> None:
        if select.select((self._connection,), (), (), timeout_s)[0]:
            data = self._connection.recv(64)
            if not data:
                raise ParentGone
            self._credits += len(data)

    def _offer(self, picture: Picture) -> None:
        """Sends it in all views, unless the picture is the same as before."""
        shaped = [shaper.shape(picture) for shaper in self._shapers]
        if self._settings.skip_repeats and self._is_repeat(picture if not shaped else shaped[0][1]):
            self._repeated += 1
            return
        now_ns = time.monotonic_ns()
        heads = tuple(head for head, _ in shaped)
        message = FrameHead(self._number, now_ns, self._number * self._interval_ns, self._seen(), heads)
        self._connection.sendall(packed(message))
        for _, image in shaped:
            self._connection.sendall(image.data)
        self._credits -= 1
        self._spoke_ns = now_ns

    def _is_repeat(self, image: Picture) -> bool:
        crc = zlib.crc32(image.data)
        same = crc == self._picture_crc
        # the first picture may be the frozen one that made us start again: only a change makes it new
        first = self._picture_crc == -1
        self._picture_crc = crc
        return same or first

    def _stay_in_touch(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._spoke_ns >= self._idle_ns:
            self._connection.sendall(packed(Idle(self._seen())))
            self._spoke_ns = now_ns

    def _seen(self) -> Seen:
        broken = self._capture.broken - self._told_broken
        seen = Seen(self._pictures, self._repeated, broken)
        self._told_broken += broken
        self._pictures = self._repeated = 0
        return seen


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
