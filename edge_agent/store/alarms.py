"""What people have to know of a store that commits: a -wal that nobody can empty, rows that nobody can take over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.store.body import StoreBody
from edge_agent.store.database import readers
from edge_agent.store.inspection import bytes_of, wal_of

WAL_BYTES = 64 * 1024 * 1024
"""A checkpoint is due at 4 MB and the -wal is cut at 16: only a reader that does not end lets it grow so far."""


class Alarms:
    """`turn` is called now and then, on the store's thread: it asks the disk."""

    def __init__(self, path: Path, body: StoreBody, report: Callable[[str, bool, str], None]) -> None:
        """`path`: of the database; `report(part, up, reason)` is told what is wrong, and when it is over."""
        self._path = path
        self._body = body
        self._report = report
        self._raised: dict[str, str] = {}

    def turn(self) -> None:
        self._tell("store.wal", self._starved())
        self._tell("store.salvage", self._given_up())

    def _tell(self, part: str, why: str) -> None:
        if why != self._raised.get(part, ""):
            self._raised[part] = why
            self._report(part, not why, why)

    def _starved(self) -> str:
        """Durability row 29. While it stands, the figures of its beginning do."""
        try:
            size_bytes = bytes_of(wal_of(self._path))
        except OSError:  # the store says itself that its volume fails
            return ""
        if size_bytes <= WAL_BYTES:
            return ""
        if said := self._raised.get("store.wal"):
            return said
        who = ", ".join(readers(self._path)) or "a program"
        return (
            f"{wal_of(self._path)} has grown to {size_bytes // 1_000_000} MB: {who} reads in the store and does not"
            " end; end it, or the volume fills up"
        )

    def _given_up(self) -> str:
        folder = self._path.parent
        names = [f"{folder / name} ({how})" for name, how in self._body.given_up.items()]
        if not names:
            return ""
        return (
            f"the rows of {', '.join(names)} could not be taken over, and are kept there; the next start tries again,"
            " or look with: edge-agent store salvage"
        )
