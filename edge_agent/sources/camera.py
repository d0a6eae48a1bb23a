"""A camera: USB, network, a file, or a command. Gives frames to the lanes that name it as their input.

    [[source]]
    name = "gate"
    kind = "camera"
    url = "rtsp://viewer:secret@10.0.0.7/stream1"   # or one of the following
    # device = 0                                    # USB: number or path
    # url = "http://10.0.0.8/video.mjpg"            # MJPEG over HTTP
    # command = ["rpicam-vid", "-t", "0", "--codec", "mjpeg", "-n", "-o", "-"]   # writes MJPEG to its stdout
    # file = "door.mp4"

Capture runs in a child process, which is killed when it gives no picture for `stall` and started again by the
framework. Only the newest frame is passed on; of a file every one, with `every_frame` or `speed = "max"`.

A camera that sends the same picture again gives no frame (`repeated` counts them), so what was seen last ages; after
`frozen_after` it counts as dead. Also counted: `broken` pictures (a JPEG that ends early). Notes: `fps`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent.children import Child
from edge_agent.config.redact import redact
from edge_agent.config.site import Duration, FilePath
from edge_agent.durations import parse_duration
from edge_agent.errors import EndOfInput, Retryable
from edge_agent.ports import Context
from edge_agent.sources.camera_wire import (
    CREDIT,
    CREDITS,
    LENGTH,
    PIXELS_LIMIT,
    SETTINGS_LIMIT,
    Ended,
    FrameHead,
    FromChild,
    Idle,
    ImageHead,
    Seen,
    Settings,
    decode_from_child,
    packed,
)
from edge_agent.sources.pacing import Pace, Speed
from edge_agent.types import Frame, Image, Stamp

_CHECK = "check the camera, its cable, power and network"
_START_S = 3.0
"""On top of `open_timeout`: a slow box takes that long to load OpenCV."""
_RATE_NS = 2_000_000_000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `camera` source."""

    device: Annotated[int, Meta(ge=0, le=255)] | str | None = None
    """A USB camera by number, or by path such as `/dev/v4l/by-id/…`, which survives renumbering."""
    url: Annotated[str, Meta(pattern=r"^(rtsp|rtsps|rtmp|udp|tcp|http|https)://.+")] | None = None
    """RTSP (over TCP) and what else FFMPEG reads; http and https are taken as MJPEG."""
    file: FilePath | None = None
    """A video file."""
    command: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """Program and arguments, run without a shell, that writes JPEGs to its standard output."""
    width: Annotated[int, Meta(ge=16, le=8192)] | None = None
    """device: what to ask the camera for."""
    height: Annotated[int, Meta(ge=16, le=8192)] | None = None
    """device: what to ask the camera for."""
    fps: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """device: what to ask the camera for."""
    fourcc: Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ]{4}$")] | None = None
    """device: pixel format to ask for, such as "MJPG"."""
    max_fps: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """At most so many frames a second are passed on."""
    open_timeout: Duration = "10s"
    """How long the first picture may take."""
    stall: Duration = "3s"
    """How long no picture may come before the capture is killed and started again."""
    frozen_after: Duration = "10s"
    """How long the picture may stay the same, to the last bit; "0s": for ever, and repeats are passed on."""
    speed: Speed = 1.0
    """file: 1 is real time, 10 ten times as fast, "max" every frame as fast as the agent takes it."""
    every_frame: bool = False
    """file: hold the file back instead of leaving frames out."""
    loop: bool = False
    """file: from the start again at its end."""

    def __post_init__(self) -> None:
        given = [key for key in ("device", "url", "file", "command") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of device, url, file and command, not {' and '.join(given) or 'none'}")
        if self.file is None and (self.speed != 1.0 or self.every_frame or self.loop):
            raise ValueError("speed, every_frame and loop are for a file")
        if (self.width is None) != (self.height is None):
            raise ValueError("give width and height together")


def open(config: Config, context: Context) -> Camera:  # noqa: A001 - the seam's name
    """Starts the capture child. Raises Retryable when the system refuses; what the camera says comes from `read`."""
    return Camera(config, context)


class Camera:
    """ports.Source over one capture child."""

    def __init__(self, config: Config, context: Context) -> None:
        self._name = context.name
        self._clock = context.clock
        self._counters = context.counters
        self._pace = Pace(context.clock, config.speed)
        self._real_time = config.speed == 1.0
        self._stall_ns = parse_duration(config.stall)
        self._frozen_ns = _frozen_ns(config)
        self._limit_ns = parse_duration(config.open_timeout) + self._stall_ns + round(_START_S * 1e9)
        self._picture_ns = self._new_ns = self._rate_since_ns = context.clock.mono_ns()
        self._rate_frames = 0
        self._owed = CREDITS
        self._child = Child(context.spawner, "edge_agent.sources.camera_child")
        self._socket = self._child.socket
        # a frame that began must go on coming: a child that stops in the middle is a stalled one
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self._stall_ns))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        # a child that is gone already says so at the first read
        with contextlib.suppress(OSError):
            self._socket.sendall(packed(_settings(config, context)))

    def read(self, timeout_s: float) -> Sequence[Frame]:
        """At most one frame, stamped with the instant it was grabbed."""
        if self._owed:
            # a child that has ended takes no more, but what it said before is still to be read
            with contextlib.suppress(OSError):
                self._socket.sendall(CREDIT * self._owed)
            self._owed = 0
        if not self._poll.poll(timeout_s * 1e3):
            self._child.drain()
            self._check_age()
            return ()
        try:
            frame = self._take(self._message())
        except (OSError, EOFError, msgspec.DecodeError):
            raise self._dead(f"the capture process is gone: {self._child.ended(1.0)}", _CHECK) from None
        self._check_age()
        return () if frame is None else (frame,)

    def close(self) -> None:
        self._child.kill()

    def _take(self, message: FromChild) -> Frame | None:
        if isinstance(message, Ended):
            if message.finished:
                raise EndOfInput("the file has ended")
            raise self._dead(message.reason, message.hint)
        self._note(message.seen)
        if isinstance(message, Idle):
            return None
        pixels = [self._exactly(_size(head)) for head in message.images]
        images = tuple(
            Image(h.height, h.width, h.channels, data, h.scale, h.dx, h.dy)
            for h, data in zip(message.images, pixels, strict=True)
        )
        self._owed += 1
        self._new_ns = self._clock.mono_ns()
        self._note_rate()
        return Frame(self._name, self._stamp(message), message.number, images)

    def _stamp(self, head: FrameHead) -> Stamp:
        if not self._real_time:
            return self._pace.stamp(head.event_ns)
        now = self._clock.now()
        return Stamp(head.mono_ns, now.wall_ns - (now.mono_ns - head.mono_ns), now.quality, now.boot)

    def _note(self, seen: Seen) -> None:
        if seen.pictures:
            self._picture_ns = self._clock.mono_ns()
            self._limit_ns = self._stall_ns
        if seen.repeated:
            self._counters.count("repeated", seen.repeated)
        if seen.broken:
            self._counters.count("broken", seen.broken)

    def _note_rate(self) -> None:
        self._rate_frames += 1
        took_ns = self._new_ns - self._rate_since_ns
        if took_ns >= _RATE_NS:
            self._counters.note("fps", round(self._rate_frames * 1e9 / took_ns, 1))
            self._rate_since_ns, self._rate_frames = self._new_ns, 0

    def _check_age(self) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns - self._picture_ns > self._limit_ns:
            self._counters.count("stalled")
            raise self._dead(f"no picture for {(now_ns - self._picture_ns) / 1e9:.1f} s: the camera stalled", _CHECK)
        if self._frozen_ns and now_ns - self._new_ns > max(self._frozen_ns, self._limit_ns):
            self._counters.count("frozen")
            reason = f"the same picture for {(now_ns - self._new_ns) / 1e9:.1f} s: the camera is frozen"
            raise self._dead(reason, 'restart the camera; frozen_after = "0s" if its picture never changes')

    def _dead(self, reason: str, hint: str) -> Retryable:
        self._child.kill()
        # FFMPEG repeats addresses with their passwords
        return Retryable(f"camera {self._name}: {redact(reason)}", hint=hint)

    def _message(self) -> FromChild:
        size = LENGTH.unpack(self._exactly(LENGTH.size))[0]
        if size > SETTINGS_LIMIT:
            raise EOFError
        message: FromChild = decode_from_child(self._exactly(size))
        return message

    def _exactly(self, size: int) -> bytes:
        data = self._socket.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise EOFError
        return data


def _settings(config: Config, context: Context) -> Settings:
    unpaced = config.speed == "max"
    return Settings(
        *_target(config), context.views,
        open_timeout_ms=parse_duration(config.open_timeout) // 1_000_000,
        read_timeout_ms=parse_duration(config.stall) // 1_000_000,
        max_fps=config.max_fps,
        size=(config.width, config.height) if config.width and config.height else None,
        fps=config.fps, fourcc=config.fourcc or "",
        speed=None if unpaced else float(config.speed),
        every_frame=config.every_frame or unpaced, loop=config.loop,
        skip_repeats=_frozen_ns(config) > 0,
    )  # fmt: skip


def _frozen_ns(config: Config) -> int:
    """0: repeats are no fault, as in a file."""
    return parse_duration(config.frozen_after) if config.file is None else 0


def _target(config: Config) -> tuple[str, tuple[str, ...]]:
    if config.command is not None:
        return "command", config.command
    if config.file is not None:
        return "file", (config.file,)
    if config.device is not None:
        return "device", (str(config.device),)
    assert config.url is not None
    return ("http" if config.url.startswith("http") else "url"), (config.url,)


def _size(head: ImageHead) -> int:
    if head.nbytes > PIXELS_LIMIT:
        raise EOFError
    return head.nbytes


def _timeval(ns: int) -> bytes:
    return struct.pack("@ll", ns // 1_000_000_000, ns % 1_000_000_000 // 1000)


