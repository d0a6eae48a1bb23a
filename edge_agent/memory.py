"""What rules and alerts must not forget over a restart: one small file, replaced whole."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.decisions import NOTHING, Remembered

log = logging.getLogger("edge_agent")


class Memory:
    """The file at `path`. A latched rule that a restart would unlatch is why it exists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Remembered | None = None

    def read(self) -> Remembered:
        """Nothing where there is no file, or none that can be read: the rules then start as normal, which is said."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return NOTHING
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
            log.warning("%s cannot be read (%s): rules start as normal, latched ones too", self._path, e)
            return NOTHING

    def write(self, now: Remembered) -> None:
        """Where it changed. A disk that refuses is tried again at the next call."""
        if now == self._written:
            return
        temporary = self._path.with_suffix(".part")
        with suppress(OSError):
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(now))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._written = now
