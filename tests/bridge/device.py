"""The C library as a device, through ctypes: the code that runs on a microcontroller, on a clock that tests set."""

from __future__ import annotations

import ctypes as c
import json
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

import pytest

C_DIR = Path(__file__).parents[2] / "firmware_bridge" / "c"
VECTORS = C_DIR.parent / "vectors"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wpedantic")
STATS = (
    "good",
    "crc_errors",
    "bad_frames",
    "oversize",
    "bad_messages",
    "unknown",
    "overwritten",
    "log_dropped",
    "safe_entries",
)


def vectors(name: str) -> list[dict]:
    return json.loads((VECTORS / name).read_text())


def need(*tools: str) -> None:
    """Skips the test, with the reason, when a tool is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@cache
def build_folder() -> Path:
    folder = C_DIR / "build"
    folder.mkdir(exist_ok=True)
    return folder


@cache
def library() -> c.CDLL:
    need("gcc")
    target = build_folder() / f"libsim-{os.getpid()}.so"
    run(
        "gcc",
        *WARNINGS,
        "-O2",
        "-fPIC",
        "-shared",
        "-DFWB_RX_MAX=254",
        f"-I{C_DIR}",
        Path(__file__).with_name("sim.c"),
        C_DIR / "fwb.c",
        "-o",
        target,
    )
    lib = c.CDLL(str(target))
    target.unlink()
    lib.sim_new.restype = c.c_void_p
    lib.sim_take.restype = c.c_size_t
    lib.sim_next.restype = lib.sim_acked.restype = lib.sim_acts.restype = c.c_uint32
    lib.sim_stats.restype = lib.sim_act.restype = c.POINTER(c.c_uint32)
    lib.fwb_crc32.restype = c.c_uint32
    lib.fwb_frame_seal.restype = c.c_size_t
    return lib


def c_seal(body: bytes) -> bytes:
    """Type, seq and payload as the C library puts them on the wire."""
    buffer = c.create_string_buffer(b"\xaa" + body + bytes(6), len(body) + 7)
    size = library().fwb_frame_seal(buffer, c.c_size_t(len(body)))
    return buffer.raw[:size]


def c_open(encoded: bytes) -> bytes | int:
    """What the C library finds between two delimiters: type, seq and payload, or its error."""
    buffer = c.create_string_buffer(encoded, len(encoded))
    size = library().fwb_frame_open(buffer, c.c_size_t(len(encoded)))
    return buffer.raw[:size] if size > 0 else size


def raw(value: float) -> int:
    """The bits of a float32."""
    return struct.unpack("<I", struct.pack("<f", value))[0]


class SimDevice:
    """One boot of the device. Time is in microseconds since its boot."""

    def __init__(self, boot: int = 7, ring: int = 256, previous: tuple[int, int] | None = None) -> None:
        self._lib = library()
        prev_boot, prev_next = previous or (0, 0)
        self._sim = c.c_void_p(
            self._lib.sim_new(
                c.c_uint32(boot),
                c.c_uint32(ring),
                int(previous is not None),
                c.c_uint32(prev_boot),
                c.c_uint32(prev_next),
            )
        )
        self._buffer = c.create_string_buffer(1 << 20)
        self.boot = boot

    def __del__(self) -> None:
        self._lib.sim_free(self._sim)

    def at(self, us: int) -> None:
        self._lib.sim_time(self._sim, c.c_uint64(us))

    def start_at(self, number: int) -> None:
        self._lib.sim_start_at(self._sim, c.c_uint32(number))

    def room(self, size: int) -> None:
        """The line takes `size` more bytes."""
        self._lib.sim_room(self._sim, c.c_size_t(size))

    def actuate_returns(self, status: int) -> None:
        self._lib.sim_status(self._sim, status)

    def feed(self, data: bytes) -> None:
        self._lib.sim_feed(self._sim, data, c.c_size_t(len(data)))

    def poll(self) -> bytes:
        """Polls, and returns what went on the line."""
        self._lib.sim_poll(self._sim)
        size = self._lib.sim_take(self._sim, self._buffer, c.c_size_t(1 << 20))
        return self._buffer.raw[:size] if size < 4096 else c.string_at(self._buffer, size)

    def reconnected(self) -> None:
        self._lib.sim_reconnected(self._sim)

    def safe(self) -> None:
        self._lib.sim_safe(self._sim)

    def sample(self, stream: int, value: int) -> int:
        return self._lib.sim_sample(self._sim, c.c_uint8(stream), c.c_uint32(value))

    def count(self, samples: int = 1) -> None:
        """Samples of stream 0 whose value is their number."""
        for _ in range(samples):
            self.sample(0, self.next)

    def fault(self, stream: int) -> int:
        return self._lib.sim_fault(self._sim, c.c_uint8(stream))

    def log(self, level: int, text: bytes) -> int:
        return self._lib.sim_log(self._sim, c.c_uint8(level), text)

    def actuated(self, command: int, status: int, value: int) -> int:
        return self._lib.sim_actuated(self._sim, c.c_uint32(command), status, c.c_uint32(value))

    @property
    def next(self) -> int:
        return self._lib.sim_next(self._sim)

    @property
    def acked(self) -> int:
        return self._lib.sim_acked(self._sim)

    @property
    def stats(self) -> dict[str, int]:
        return dict(zip(STATS, self._lib.sim_stats(self._sim)[: len(STATS)], strict=True))

    @property
    def acts(self) -> list[tuple[int, int, int]]:
        """(actuator, raw value, command id) of every call of actuate."""
        count = self._lib.sim_acts(self._sim)
        return [tuple(self._lib.sim_act(self._sim, c.c_uint32(i))[:3]) for i in range(count)]
