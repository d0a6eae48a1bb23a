"""Epochs by their number: rows name their epoch by the start counter, messages by its id."""

from __future__ import annotations

from edge_agent.store.database import Database


class Epochs:
    """Reads each once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ids: dict[int, str] = {}

    def id_of(self, number: int) -> str:
        """Empty for a number that no start ever had and an id that is no ULID: only damage produces them."""
        known = self._ids.get(number)
        if known is None:
            found = self._db.one("SELECT id FROM epoch WHERE no = ?", (number,))
            if not isinstance(found, str) or not found.isascii():
                return ""
            known = self._ids[number] = found
        return known
