"""A microcontroller with MCUboot on a serial line of some speed, as a process: until its stdin ends.

    python board.py FOLDER BAUD    FOLDER/port leads to the line, FOLDER/first.bin runs, FOLDER/key.pub.pem is trusted

It runs at the lowest priority that there is (SCHED_IDLE): a board takes none of a gateway's time.
"""

from __future__ import annotations

import os
import select
import sys
import time
import tty
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.doubles.mcuboot import McuBoot

_TURN_S = 0.001
"""What a USB adapter gathers; after so long the next bytes go on."""
_BITS = 10


class Way:
    """One direction of the line: what comes in goes out at the line's speed."""

    def __init__(self, source: int, target: int, baud: int) -> None:
        self.source, self._target = source, target
        self._turn_bytes = max(int(baud / _BITS * _TURN_S), 1)
        self._held = bytearray()
        self._due_s = 0.0

    def due_in_s(self, now_s: float) -> float | None:
        """None while nothing is under way."""
        return max(self._due_s - now_s, 0.0) if self._held else None

    def take(self, now_s: float) -> None:
        if not self._held:
            self._due_s = now_s + _TURN_S
        self._held += os.read(self.source, 4096)

    def give(self, now_s: float) -> None:
        while self._held and now_s >= self._due_s:
            self._due_s += _TURN_S
            del self._held[: os.write(self._target, self._held[: self._turn_bytes])]


def main(folder: Path, baud: int) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    board = McuBoot(folder / "first.bin", folder / "key.pub.pem")
    board.start()
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    (folder / "port").symlink_to(os.ttyname(theirs))
    ways = (Way(ours, board.fd, baud), Way(board.fd, ours, baud))
    while True:
        waits = [wait for way in ways if (wait := way.due_in_s(time.monotonic())) is not None]
        ready, _, _ = select.select([sys.stdin, *(way.source for way in ways)], [], [], min(waits, default=None))
        if sys.stdin in ready:
            break
        for way in ways:
            if way.source in ready:
                way.take(time.monotonic())
            way.give(time.monotonic())
    board.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
