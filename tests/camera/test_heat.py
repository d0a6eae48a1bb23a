"""Row 23: on a hot box a real camera passes fewer frames on to its models, and not fewer than one a second."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest
from doubles.context import DriverContext

from edge_agent.clock import SystemClock
from edge_agent.health import PartHealth
from edge_agent.heat import Heat
from edge_agent.inbox import Inbox
from edge_agent.source_body import SourceBody
from edge_agent.sources import camera
from edge_agent.types import Frame

from .pictures import BIKES, SMALL

pytestmark = pytest.mark.skipif(not BIKES.exists(), reason="../shared/data/video is not here")


class Taker:
    """A lane's place: keeps the frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._came = threading.Condition()

    def submit_frame(self, frame: Frame, *, waiting: bool) -> None:
        with self._came:
            self.frames.append(frame)
            self._came.notify_all()

    def next(self, count: int, within_s: float = 30.0) -> list[Frame]:
        """So many frames from now on."""
        with self._came:
            begin = len(self.frames)
            assert self._came.wait_for(lambda: len(self.frames) >= begin + count, within_s)
            return self.frames[begin : begin + count]


def rate_hz(frames: list[Frame]) -> float:
    return (len(frames) - 1) * 1e9 / (frames[-1].stamp.mono_ns - frames[0].stamp.mono_ns)


def hot(heat: Heat, halves: int) -> None:
    """From now on, for whoever asks it."""
    for n in range(halves):
        heat.feel(99.0, n * 20_000_000_000)


def run(heat: Heat, taker: Taker, speed: float | str) -> tuple[SourceBody, threading.Thread, PartHealth]:
    health = PartHealth("cam")
    config = msgspec.convert({"file": str(BIKES), "loop": True, "speed": speed}, camera.Config)
    body = SourceBody(
        "cam", opener=lambda: camera.open(config, DriverContext("cam", views=(SMALL,))), feed=Inbox().feed("cam"),
        takers=[taker], clock=SystemClock(), health=health, unpaced=speed == "max", heat=heat,
    )  # fmt: skip
    thread = threading.Thread(target=body.run)
    thread.start()
    return body, thread, health


@pytest.mark.slow
def test_row_23_a_camera_gives_way_by_halves_and_never_goes_below_one_frame_a_second() -> None:
    heat, taker = Heat(80.0), Taker()
    body, thread, health = run(heat, taker, 1.0)
    try:
        whole = rate_hz(taker.next(20))
        assert health.value("left_out_hot") == 0
        hot(heat, 1)
        taker.next(2)
        half = rate_hz(taker.next(15))
        assert 0.35 < half / whole < 0.65
        hot(heat, 10)
        taker.next(2)
        least = rate_hz(taker.next(4))
        assert 0.85 < least < 1.4
        assert health.value("left_out_hot") > 30
        for n in range(6):
            heat.feel(40.0, (300 + n * 100) * 1_000_000_000)
        taker.next(2)
        assert rate_hz(taker.next(20)) / whole > 0.8
    finally:
        body.stop()
        thread.join(10)


def test_a_replay_as_fast_as_possible_leaves_nothing_out() -> None:
    heat, taker = Heat(80.0), Taker()
    hot(heat, 5)
    body, thread, health = run(heat, taker, "max")
    try:
        began = time.monotonic()
        frames = taker.next(60)
        assert [f.number - frames[0].number for f in frames] == list(range(60))
        assert health.value("left_out_hot") == 0
        assert time.monotonic() - began < 30
    finally:
        body.stop()
        thread.join(10)
