"""Starts that came to no good end, and the safe mode that follows too many of them. No clock has to be right.

A start is in the file before a model runs, one that was refused is not. It is struck off by a clean stop, or when the
agent has lived for `LIVED_S`. Within one boot those older than `LIVED_S` do not count; of the boots before, those do
that lived for less than `STOOD_S`: a truck that is switched off after a short trip is no crash loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.ports import Clock
from edge_agent.store.identity import replace_file, sync_folder
from edge_agent.unreadable import UNREADABLE

log = logging.getLogger("edge_agent")

LIVED_S = 600.0
STOOD_S = 60.0
_TOO_MANY = 5


class _Start(msgspec.Struct, frozen=True):
    boot: str
    mono_ms: int
    stood: bool = False

    def counts(self, boot: str, mono_ms: int) -> bool:
        return mono_ms - self.mono_ms < LIVED_S * 1e3 if self.boot == boot else not self.stood


class Starts:
    """`keep` from the store's thread, which alone may wait for the disk while the agent lives; the rest from main."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.safe_mode = ""
        """Why models are left out; empty while they are not."""
        self._path = path
        self._clock = clock
        now = clock.now()
        self._began_ns = now.mono_ns
        self._stood = self._lived = self._struck = self._refused = False
        mono_ms = now.mono_ns // 1_000_000
        recent = [start for start in _read(path) if start.counts(now.boot, mono_ms)][-_TOO_MANY:]
        if len(recent) == _TOO_MANY:
            self.safe_mode = (
                f"{_TOO_MANY} starts in a row ended badly (a crash, a kill or a power cut; see the log):"
                f" models are left out for {LIVED_S / 60:g} minutes, or until a clean stop and a start"
                " (systemctl restart edge-agent)"
            )
        self._with_this = [*recent, _Start(now.boot, mono_ms)]

    def begin(self) -> None:
        """What can be refused for its site or its folders is behind it: this start is on the disk when it returns,
        where the disk takes it."""
        self._write(self._with_this)

    def turn(self, report: Callable[[bool, str], None]) -> None:
        """Tells of the safe mode, and of its end."""
        if not self._lived and self._clock.mono_ns() - self._began_ns >= LIVED_S * 1e9:
            self._lived = True
            if self.safe_mode:
                self.safe_mode = ""
                report(True, "")
        if self.safe_mode:
            report(False, self.safe_mode)

    def keep(self) -> None:
        """Notes what has stood, and strikes off what has lived."""
        if self._lived and not self._struck:
            self._struck = self._strike_off()
        elif not self._stood and self._clock.mono_ns() - self._began_ns >= STOOD_S * 1e9:
            self._stood = True
            *before, this = self._with_this
            self._write([*before, msgspec.structs.replace(this, stood=True)])

    def close(self) -> None:
        """The stop is a clean one."""
        self._strike_off()

    def _write(self, starts: list[_Start]) -> None:
        try:
            replace_file(self._path, msgspec.json.encode(starts))
        except OSError as e:
            self._say(e)

    def _strike_off(self) -> bool:
        """By taking the file away, for which a full disk has room too."""
        try:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        except OSError as e:
            self._say(e)
            return False
        return True

    def _say(self, error: OSError) -> None:
        if not self._refused:  # `keep` tries again each interval
            log.warning("%s cannot be written (%s): a crash loop may go unnoticed", self._path, error.strerror)
        self._refused = True


def _read(path: Path) -> list[_Start]:
    """None where there is no file, or none that can be read: one crash loop more, and it is whole again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Start])
    except (OSError, *UNREADABLE):
        return []
