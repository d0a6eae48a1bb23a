"""A device's place as one number, as the store keeps it, and the way back. Pure.

The number is `boot << 32 | next`. Which life of a boot id it means is known only here: a device that repeats its
boot id after a power cut must not be told that its new samples are safe because the old ones are.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

from firmware_bridge.events import Cursor
from firmware_bridge.intake import distance

_U32 = 0xFFFF_FFFF


def pack(boot: int, following: int) -> int:
    """Everything of `boot` before sample `following` (which may have wrapped) is accounted for."""
    return boot << 32 | following & _U32


def unpack(number: int) -> Cursor:
    """As a process that starts sees it: the life is 0."""
    return Cursor(number >> 32, number & _U32)


class CursorsGiven:
    """What was handed on and is not committed yet, newest place of each life. Any thread."""

    def __init__(self) -> None:
        self._lives: deque[Cursor] = deque()
        self._lock = Lock()

    def give(self, cursor: Cursor) -> int:
        """`cursor` as a number; places ascend within a life."""
        with self._lock:
            if self._lives and (self._lives[-1].boot, self._lives[-1].life) == (cursor.boot, cursor.life):
                self._lives[-1] = cursor
            else:
                self._lives.append(cursor)
        return pack(cursor.boot, cursor.next)

    def committed(self, number: int) -> Cursor | None:
        """The place that `number` was given for, the oldest where several lives had it; older lives are over."""
        place = unpack(number)
        with self._lock:
            for i, newest in enumerate(self._lives):
                if newest.boot == place.boot and distance(place.next, newest.next) >= 0:
                    for _ in range(i):
                        self._lives.popleft()
                    return Cursor(place.boot, place.next, newest.life)
        return None
