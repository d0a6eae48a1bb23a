"""What rules and alerts must not forget over a restart: one small file, replaced whole, with a checksum."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.decisions import NOTHING, Remembered
from edge_agent.unreadable import UNREADABLE

log = logging.getLogger("edge_agent")


_MOST_DAMAGED = 4
"""Files beside it at most."""


def _untold(_up: bool, _why: str) -> None:
    pass


class Memory:
    """The file at `path`. A latched rule that a restart would unlatch is why it exists. `report`: whether it can be
    relied on, and why not; called when that changes."""

    def __init__(self, path: Path, report: Callable[[bool, str], None] = _untold) -> None:
        self._path = path
        self._report = report
        self._written: Remembered | None = None
        self._damaged = False
        self.unkept = ""
        """Why the newest was not written, empty where it was."""

    def read(self) -> Remembered:
        """Nothing where there is no file, or none that can be read: the rules then start as normal, which is said all
        through this run, and the file is kept beside."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return NOTHING
        except (OSError, *UNREADABLE) as e:
            self._damaged = True
            why = f"{self._path} cannot be read ({e}): rules started as normal, latched and held ones too"
            log.warning("%s", why)
            self._report(False, f"{why}; {self._put_aside()}")
            return NOTHING

    def write(self, now: Remembered) -> None:
        """Where it changed. A disk that refuses is told, and tried again at the next call."""
        if now == self._written:
            return
        try:
            self._replace(_encode(now))
        except OSError as e:
            hint = "check the volume: room, mount, permissions"
            why = f"holds and latched rules would not outlive a restart; {hint}"
            self.unkept = f"{self._path} cannot be written ({e.strerror}): {why}"
            self._report(False, self.unkept)
            return
        self._written = now
        if self.unkept and not self._damaged:
            self._report(True, "")
        self.unkept = ""

    def _replace(self, content: bytes) -> None:
        temporary = self._path.with_suffix(".part")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _put_aside(self) -> str:
        """What became of the damaged file."""
        beside = (self._path.with_name(f"{self._path.name}.damaged-{n}") for n in range(1, _MOST_DAMAGED + 1))
        free = next((path for path in beside if not path.exists()), None)
        if free is not None:
            with suppress(OSError):
                self._path.rename(free)
                return f"look at the rules; the file is kept as {free.name}"
        return "look at the rules"


def _encode(remembered: Remembered) -> bytes:
    text = msgspec.json.encode(remembered)
    return text + b"\n%08x\n" % zlib.crc32(text)


def _decode(content: bytes) -> Remembered:
    """One bit of a name that turned would be a rule that nobody knows, and no error: hence the check."""
    text, _, check = content.partition(b"\n")
    if check and check != b"%08x\n" % zlib.crc32(text):
        raise msgspec.DecodeError("its checksum does not fit")
    return msgspec.json.decode(text, type=Remembered)
