"""A budget in use: which links it holds for, what goes on the wire, what is too much, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from edge_agent.ports import Outbox, Row
from edge_agent.unreadable import UNREADABLE
from edge_agent.uplink.budget import Budget, Limits, Spender, Spent, cost_bytes, stretch_bytes
from edge_agent.uplink.file import replace_whole

_SAVE_NS = 600_000_000_000
_TELE = 2
_PAGE = 16
_THIN_EVERY_NS = 100_000_000
_LOOK_EVERY_NS = 1_000_000_000
_KEPT_DAYS = 7
"""What so many days could carry may wait; more would never arrive."""
_ROW_BYTES = 1500
"""Of a row of telemetry, before the first one was seen."""


class Meter:
    """One thread. `interfaces`: patterns of the links that cost, empty for all."""

    def __init__(
        self, limits: Limits, outbox: Outbox, path: Path, boot: str, now_ns: int, *,
        interfaces: tuple[str, ...] = (), thin: bool = True,
    ) -> None:  # fmt: skip
        self.budget = Budget(limits, _read(path), boot, now_ns)
        self._outbox = outbox
        self._path = path
        self._interfaces = interfaces
        self._thins = thin
        self._row_bytes = float(_ROW_BYTES)
        self._thin_after = 0
        self._thin_next_ns = 0
        self._odd = False
        self._save_due_ns = now_ns
        self._covered = self._covered_day = 0
        self._link = ""

    def connected(self, link: str, now_ns: int) -> None:
        """By which interface; one without a name is taken for one that costs."""
        self._link = link
        metered = not self._interfaces or not link or any(fnmatchcase(link, known) for known in self._interfaces)
        self.budget.connected(metered=metered, now_ns=now_ns)

    def sent(self, who: Spender, row: Row, now_ns: int) -> None:
        self.budget.spend(who, len(row.body), now_ns)
        if row.prio == _TELE:
            self._weigh(row)

    def too_much(self, live_start: int, now_ns: int) -> Iterator[tuple[int, int]]:
        """Every second row of telemetry, from the oldest on, while more than a week's bytes wait; a few at a
        time, and none that was committed since the connection came."""
        if not self._thins or not self.budget.metered or now_ns < self._thin_next_ns:
            return
        carried = _KEPT_DAYS * self.budget.telemetry_bytes / cost_bytes(round(self._row_bytes))
        too_much = self._outbox.unsettled(_TELE) > carried
        self._thin_next_ns = now_ns + (_THIN_EVERY_NS if too_much else _LOOK_EVERY_NS)
        if not too_much:
            return
        rows = [row for row in self._outbox.unacked(_TELE, self._thin_after, _PAGE) if row.id <= live_start]
        self._thin_after = rows[-1].id if rows else 0
        for row in rows:
            self._weigh(row)
            self._odd = not self._odd
            if self._odd:
                yield row.prio, row.id

    def trouble(self, now_ns: int) -> str:
        """Why not even alerts go; empty while they do."""
        wait_ns = self.budget.wait_ns(Spender.URGENT, now_ns)
        if not wait_ns:
            return ""
        per_day = self.budget.limits.per_day_bytes
        hint = "raise uplink.budget.per_day, or wait: all rows are kept"
        return f"the day's {per_day:,} bytes are used up; it goes on in {wait_ns / 3.6e12:.1f} h; {hint}"

    def save(self, now_ns: int, *, now: bool = False) -> None:
        """Now and then, and at the end `now`. What a kill leaves says so: the next run charges a stretch."""
        spent = self.budget.spent(now_ns)
        if not now and now_ns < self._save_due_ns and self._is_covered(spent):
            return
        self._save_due_ns = now_ns + _SAVE_NS
        self._covered = spent.used if now else spent.used + stretch_bytes(self.budget.limits)
        self._covered_day = spent.elapsed_ns
        kept = msgspec.structs.replace(spent, open=not now)
        with suppress(OSError):  # the store itself says what is wrong with the disk
            replace_whole(self._path, msgspec.json.encode(kept))

    def _is_covered(self, spent: Spent) -> bool:
        return spent.used < self._covered and spent.elapsed_ns >= self._covered_day

    def _weigh(self, row: Row) -> None:
        self._row_bytes += (len(row.body) - self._row_bytes) / 64


def _read(path: Path) -> Spent:
    """Nothing where there is no file, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Spent)
    except (OSError, *UNREADABLE):
        return Spent()
