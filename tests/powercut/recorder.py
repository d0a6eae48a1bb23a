"""The recorder's other half: builds the library, runs a program under it, reads what it recorded, arms its faults."""

import ctypes
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("recorder.c")
ROOT = Path(__file__).parents[2]
_RECORD = struct.Struct("=IIQII")


class Op(IntEnum):
    OPEN, WRITE, SIZE, SYNC, RENAME, UNLINK, LINK, MKDIR, RMDIR, MARK = range(1, 11)


class How(IntFlag):
    """Of an OPEN, in its offset."""

    CREATED, EMPTIED, FOLDER = 1, 2, 4


class Calls(IntFlag):
    """The kinds of calls that can fail."""

    OPEN, WRITE, SYNC, NAME, SIZE = 1, 2, 4, 8, 16


KILL = -9
"""In place of an errno: the process is killed at that call."""
FILLS_UP = -errno.ENOSPC
"""The first call writes half, those after it fail with ENOSPC."""


class Record(NamedTuple):
    op: int
    handle: int
    offset: int
    first: bytes
    second: bytes


def build(folder: Path) -> Path:
    """The library; the test is skipped where it cannot be made."""
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        pytest.skip("the power-cut recorder is for 64-bit Linux")
    compiler = shutil.which("gcc") or shutil.which("cc")
    headers = [compiler or "gcc", "-fsyntax-only", "-include", "stdio.h", "-x", "c", "/dev/null"]
    if compiler is None or subprocess.run(headers, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no C compiler, or no headers, for the power-cut recorder: apt-get install gcc libc6-dev")
    library = folder / "recorder.so"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", library, SOURCE, "-lpthread"],
        check=True,
    )
    return library


def memory_folder(prefix: str) -> Path:
    """A new folder in memory where there is one: what is tested is the order of calls, not the disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None))


def environment(library: Path, root: Path, log: Path | None = None) -> dict[str, str]:
    """For a program whose calls below `root` are recorded in `log`, or may be made to fail."""
    env = os.environ | {"LD_PRELOAD": str(library), "POWERCUT_ROOT": str(root), "PYTHONPATH": str(ROOT)}
    return env | ({"POWERCUT_LOG": str(log)} if log else {})


def read_log(log: Path) -> list[Record]:
    data = log.read_bytes()
    records, at = [], 0
    while at < len(data):
        op, handle, offset, n, m = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        records.append(Record(op, handle, offset, data[at : at + n], data[at + n : at + n + m]))
        at += n + m
    assert at == len(data), "the recorder's log is cut off"
    return records


class Inside:
    """For a program that runs under the library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        if not hasattr(self._library, "powercut_mark"):
            sys.exit("not under the recorder: start it through tests/powercut/recorder.py")
        self._library.powercut_arm.restype = ctypes.c_long
        self._library.powercut_mark.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        self._library.powercut_arm.argtypes = [
            ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_char_p,
        ]  # fmt: skip

    def mark(self, text: bytes) -> None:
        """Into the log, after everything that was done before."""
        self._library.powercut_mark(text, len(text))

    def arm(self, calls: Calls, error: int, first: int, count: int = 1 << 40, suffix: str = "") -> None:
        """From the `first` such call from now on, `count` calls fail; `suffix` is the end of the paths that count."""
        self._library.powercut_arm(calls, error, first, count, suffix.encode())

    def disarm(self) -> int:
        """How many calls matched."""
        return int(self._library.powercut_arm(0, 0, 0, 0, b""))
