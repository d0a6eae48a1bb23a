"""A device on a pseudo-terminal, as a process: writes the lines of its stdin over and over, at a rate, until killed.

    python line_writer.py FD HZ       every second it says on stdout how many lines the terminal has taken
"""

from __future__ import annotations

import os
import sys
import time

_TURN_S = 0.001


def main(fd: int, hz: float) -> None:
    lines = sys.stdin.buffer.read().splitlines(keepends=True)
    written, began, told_s = 0, time.monotonic(), 0.0
    while True:
        elapsed_s = time.monotonic() - began
        due = int(elapsed_s * hz) - written
        if due <= 0:
            time.sleep(_TURN_S)
            continue
        for _ in range(due // 500 + 1):
            first = written % len(lines)
            count = min(due, 500, len(lines) - first)
            _write(fd, b"".join(lines[first : first + count]))
            written += count
            due -= count
            if due <= 0:
                break
        if elapsed_s - told_s >= 1:
            told_s = elapsed_s
            print(written, flush=True)


def _write(fd: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(fd, chunk) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
