"""A camera gives its newest frame; one that hangs, drops, lies or freezes is named, and killed, in bounded time."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge_agent.errors import EndOfInput, Retryable
from edge_agent.sources import camera
from edge_agent.types import ImageView

from .mjpeg_server import mjpeg_camera
from .pictures import BIKES, frames, jpeg, number_in, opened, read_until

needs_bikes = pytest.mark.skipif(not BIKES.exists(), reason="../shared/data/video is not here")
QUICK = {"stall": "1s", "open_timeout": "2s"}


def test_http_camera_gives_its_pictures_in_order_as_they_come() -> None:
    with mjpeg_camera() as url, opened({"url": url}) as (source, _):
        taken = frames(source, 20)
        age_s = [(time.monotonic_ns() - f.stamp.mono_ns) / 1e9 for f in taken[-1:]]
    numbers = [number_in(f) for f in taken]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    assert age_s[0] < 0.2


def test_frames_nobody_takes_are_left_out_and_the_next_one_is_new() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?fps=20"}) as (source, _):
        frames(source, 3)
        time.sleep(1.0)
        taken = frames(source, 4)
        newest = taken[-1]
        assert time.monotonic_ns() - newest.stamp.mono_ns < 100_000_000
    assert newest.number - taken[0].number >= 10


def test_stalled_camera_is_named_and_its_capture_killed_within_the_limit() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?stall_after=5", **QUICK}) as (source, context):
        frames(source, 4)
        began = time.monotonic()
        error, _ = read_until(source, Retryable)
        took = time.monotonic() - began
        assert "stalled" in str(error)
        assert took < 2.0
        assert context.counters.value("stalled") == 1
        assert not Path(f"/proc/{source._child.pid}").exists()


def test_camera_that_drops_the_connection_is_named_at_once() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?drop_after=5"}) as (source, _):
        error, taken = read_until(source, Retryable)
    assert "closed the connection" in str(error)
    # the first picture proves nothing, it may be a frozen one
    assert len(taken) >= 3


def test_camera_that_never_answers_is_given_up_after_the_open_timeout() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?hang_headers=1", **QUICK}) as (source, _):
        began = time.monotonic()
        error, taken = read_until(source, Retryable)
        assert time.monotonic() - began < 5.0
    assert "no data for 2 s" in str(error)
    assert taken == []


def test_broken_pictures_are_counted_and_never_shown() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?corrupt=1"}) as (source, context):
        taken = frames(source, 40)
        assert context.counters.value("broken") >= 3
    for frame in taken:
        # half a picture would be one half grey
        assert len(set(frame.images[0].pixels)) == 1


def test_frozen_camera_is_found_and_stays_dead_after_the_restart_until_its_picture_changes() -> None:
    config = {"frozen_after": "1s", **QUICK}
    with mjpeg_camera() as url:
        with opened({"url": url + "?frozen_after=5", **config}) as (source, context):
            error, taken = read_until(source, Retryable)
            assert "frozen" in str(error)
            assert 0 < len(taken) <= 6
            assert context.counters.value("repeated") >= 10
        with opened({"url": url + "?frozen_after=0", **config}) as (source, _):
            error, taken = read_until(source, Retryable)
            assert "frozen" in str(error)
            assert taken == []


def test_picture_that_never_changes_is_fine_where_the_site_says_so() -> None:
    with mjpeg_camera() as url, opened({"url": url + "?frozen_after=0", "frozen_after": "0s"}) as (source, _):
        assert len(frames(source, 20)) == 20


def test_password_in_the_address_opens_the_camera_and_is_in_no_message() -> None:
    with mjpeg_camera() as url:
        known = url.replace("http://", "http://eye:s3cret@")
        with opened({"url": known + "?password=s3cret"}) as (source, _):
            assert len(frames(source, 3)) == 3
        with opened({"url": known + "?password=other"}) as (source, _):
            error, _ = read_until(source, Retryable)
            assert "HTTP 401" in str(error)
            assert "s3cret" not in str(error)
            command = Path(f"/proc/{source._child.pid}/cmdline")
            assert not command.exists() or b"s3cret" not in command.read_bytes()


def test_command_that_writes_jpegs_is_a_camera_and_ends_with_it(tmp_path: Path) -> None:
    script = tmp_path / "eye.py"
    pictures = [jpeg(n) for n in range(32)]
    script.write_text(
        "import sys, time, os\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"pictures = {pictures!r}\n"
        "for n in range(100000):\n"
        "    sys.stdout.buffer.write(pictures[n % 32]); sys.stdout.buffer.flush(); time.sleep(0.02)\n"
    )
    with opened({"command": [sys.executable, str(script)]}) as (source, _):
        taken = frames(source, 10)
        pid = int((tmp_path / "pid").read_text())
    assert [number_in(f) for f in taken] == list(range(number_in(taken[0]), number_in(taken[0]) + 10))
    wait_gone(pid)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "wrote nothing for 2 s"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
def test_command_that_fails_is_named(program: str, said: str) -> None:
    with opened({"command": [sys.executable, "-c", program], **QUICK}) as (source, _):
        error, _ = read_until(source, Retryable)
    assert said in str(error)


def test_command_that_is_not_there_is_named() -> None:
    with opened({"command": ["no-such-camera-program"]}) as (source, _):
        error, _ = read_until(source, Retryable)
    assert "no-such-camera-program" in str(error)


def test_capture_child_that_is_killed_is_named() -> None:
    with mjpeg_camera() as url, opened({"url": url}) as (source, _):
        frames(source, 2)
        os.kill(source._child.pid, signal.SIGKILL)
        error, _ = read_until(source, Retryable)
    assert "SIGKILL" in str(error)


def test_password_in_its_last_words_is_in_no_message() -> None:
    program = (
        f"import sys, time; picture = [{jpeg(0)!r}, {jpeg(1)!r}]\n"
        "print('[rtsp @ 0x55] rtsp://eye:s3cret@camera/1: 401', file=sys.stderr, flush=True)\n"
        "for n in range(10**6):\n    sys.stdout.buffer.write(picture[n % 2])\n"
        "    sys.stdout.buffer.flush(); time.sleep(0.02)"
    )
    with opened({"command": [sys.executable, "-c", program]}) as (source, _):
        frames(source, 2)
        os.kill(source._child.pid, signal.SIGKILL)
        error, _ = read_until(source, Retryable)
    assert "rtsp://eye:***@camera/1: 401" in str(error)


def test_wedged_capture_child_is_killed() -> None:
    with mjpeg_camera() as url, opened({"url": url, **QUICK}) as (source, _):
        frames(source, 2)
        pid = source._child.pid
        os.kill(pid, signal.SIGSTOP)
        error, _ = read_until(source, Retryable, 5.0)
        assert "stalled" in str(error)
        wait_gone(pid)


@pytest.mark.parametrize("config", [{"device": 250}, {"file": "no-such.mp4"}, {"url": "rtsp://127.0.0.1:9/x"}])
def test_camera_that_is_not_there_says_so_at_once(config: dict) -> None:
    with opened(config) as (source, _):
        began = time.monotonic()
        error, _ = read_until(source, Retryable)
        assert "cannot be opened" in str(error)
        assert time.monotonic() - began < 8.0


@needs_bikes
def test_file_as_fast_as_possible_gives_every_frame_and_then_ends() -> None:
    with opened({"file": str(BIKES), "speed": "max"}) as (source, _):
        _, taken = read_until(source, EndOfInput, 30.0)
    assert [f.number for f in taken] == list(range(250))
    spacing = {b.stamp.mono_ns - a.stamp.mono_ns for a, b in itertools.pairwise(taken)}
    assert spacing == {40_000_000}


def test_frames_sent_before_the_end_are_not_lost_to_a_slow_reader(tmp_path: Path) -> None:
    """The child may be gone before its last frames are taken."""
    path = short_video(tmp_path, 2)
    with opened({"file": str(path), "speed": "max"}) as (source, _):
        assert source.read(10.0)[0].number == 0
        end = time.monotonic() + 10
        while source._child.alive and time.monotonic() < end:
            time.sleep(0.01)
        assert source.read(1.0)[0].number == 1
        with pytest.raises(EndOfInput):
            source.read(1.0)


def short_video(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for n in range(count):
        writer.write(np.full((48, 64, 3), n * 8, np.uint8))
    writer.release()
    return path


@needs_bikes
def test_file_in_real_time_is_never_early_and_does_not_drift() -> None:
    """A busy box makes single frames late; the promptest of each half show the pace."""
    with opened({"file": str(BIKES)}) as (source, _):
        taken = frames(source, 50)
    late_ms = [f.stamp.mono_ns / 1e6 - f.number * 40 for f in taken]
    assert min(late_ms[:25]) == pytest.approx(min(late_ms[25:]), abs=40)


@needs_bikes
def test_file_of_which_every_frame_counts_waits_for_its_reader() -> None:
    with opened({"file": str(BIKES), "speed": 50, "every_frame": True}) as (source, _):
        taken = frames(source, 5)
        time.sleep(1.0)
        taken += frames(source, 5)
    assert [f.number for f in taken] == list(range(10))


def test_looped_file_begins_again(tmp_path: Path) -> None:
    path = short_video(tmp_path, 5)
    with opened({"file": str(path), "speed": "max", "loop": True}) as (source, _):
        taken = frames(source, 12)
    assert [number_in(f) for f in taken] == [0, 1, 2, 3, 4] * 2 + [0, 1]
    assert [f.number for f in taken] == list(range(12))


@needs_bikes
def test_rate_cap_is_kept() -> None:
    with opened({"file": str(BIKES), "max_fps": 5}) as (source, _):
        taken = frames(source, 6)
    gaps = [b.number - a.number for a, b in itertools.pairwise(taken)]
    assert all(4 <= gap <= 6 for gap in gaps)


@needs_bikes
def test_every_view_is_what_opencv_makes_of_the_same_frame() -> None:
    views = (
        ImageView(96, 96, "resize", "area", "rgb"),
        ImageView(416, 416, "letterbox", "linear", "bgr"),
        ImageView(200, 300, "letterbox_center", "nearest", "gray", 7),
        ImageView(1, 1, "none", "area", "rgb"),
        ImageView(416, 416, "letterbox", "linear", "bgr", planar=True),
        ImageView(200, 300, "letterbox_center", "nearest", "gray", 7, planar=True),
    )
    with opened({"file": str(BIKES), "speed": "max"}, *views) as (source, _):
        small, boxed, centred, whole, planes, plane = frames(source, 1)[0].images
    capture = cv2.VideoCapture(str(BIKES), cv2.CAP_FFMPEG)
    _, picture = capture.read()
    capture.release()

    resized = cv2.cvtColor(cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    assert small.pixels == resized.tobytes()
    canvas = np.full((416, 416, 3), 114, np.uint8)
    canvas[:176, :416] = cv2.resize(picture, (416, 176), interpolation=cv2.INTER_LINEAR)
    assert boxed.pixels == canvas.tobytes()
    assert planes.pixels == canvas.transpose(2, 0, 1).tobytes()
    assert (planes.height, planes.width, planes.channels) == (416, 416, 3)
    assert (boxed.scale, boxed.dx, boxed.dy) == (0.65, 0, 0)
    canvas = np.full((300, 200, 3), 7, np.uint8)
    canvas[107:192] = cv2.resize(picture, (200, 85), interpolation=cv2.INTER_NEAREST)
    assert centred.pixels == cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY).tobytes()
    assert plane.pixels == centred.pixels
    assert (centred.scale, centred.dx, centred.dy, centred.channels) == (0.3125, 0, 107, 1)
    assert whole.pixels == cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes()
    assert (whole.height, whole.width) == (272, 640)


@pytest.mark.parametrize(
    "config", [{}, {"device": 0, "file": "x"}, {"device": 0, "loop": True}, {"device": 0, "width": 640}]
)
def test_configuration_that_contradicts_itself_is_refused(config: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, camera.Config)


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Twice over: the capture child, and the command that it runs."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from camera.pictures import opened, frames\n"
        "with opened({'command': [sys.executable, '-c', sys.argv[2]]}) as (source, _):\n"
        "    frames(source, 2); print(source._child.pid, flush=True); time.sleep(60)\n"
    )
    eye = (
        f"import os, sys, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"for n in range(10**6):\n    sys.stdout.buffer.write({[jpeg(0), jpeg(1)]!r}[n % 2])\n"
        "    sys.stdout.buffer.flush(); time.sleep(0.02)\n"
    )
    import subprocess

    tests = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", program, tests, eye], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    wait_gone(child)
    wait_gone(int((tmp_path / "pid").read_text()))


def wait_gone(pid: int, within_s: float = 5.0) -> None:
    """Gone, or a zombie of somebody else's."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


