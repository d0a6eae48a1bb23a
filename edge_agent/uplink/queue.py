"""The rows of one priority in the order of their turn: what was committed since the connection came (live), and
what waited before that (backlog, oldest first). Both read the outbox in small pages: cost does not grow with it."""

from __future__ import annotations

from collections import deque

from edge_agent.ports import Outbox, Row

_PAGE = 16
"""Rows; at 96 KiB a row this bounds memory to 3 MiB a priority."""
_SAME_COMMIT_NS = 50_000_000
LIVE_LAG_NS = 2_000_000_000
"""A live row that waited longer joins the backlog, and newer ones go first."""


class Queue:
    """Cursors into one priority of the outbox. A row is given once; `rewind` makes unfinished ones come again."""

    def __init__(self, outbox: Outbox, prio: int) -> None:
        self.prio = prio
        self._outbox = outbox
        self._newest = 0
        self._commits: deque[tuple[int, int]] = deque(maxlen=64)
        """(newest id, when it was seen) of commits that are not sent whole, oldest first."""
        self._live_start = 0
        self._live_after = 0
        self._back_after = 0
        self._live: deque[Row] = deque()
        self._back: deque[Row] = deque()

    def connected(self) -> None:
        """What is committed from now on is live."""
        self._newest = self._outbox.newest(self.prio)
        self._start_live(self._newest)

    def rewind(self, unfinished: int | None) -> None:
        """The connection is gone: rows from id `unfinished` on (None: only what was not given yet) come again."""
        if self._back:
            self._back_after = min(self._back_after, self._back[0].id - 1)
        if unfinished is not None:
            self._back_after = min(self._back_after, unfinished - 1)
        self._back.clear()
        self._live.clear()

    def look(self, now_ns: int) -> None:
        """Notices new commits; live rows that cannot keep up become backlog."""
        newest = self._outbox.newest(self.prio)
        if newest > self._newest:
            self._newest = newest
            joined = self._commits and now_ns - self._commits[-1][1] < _SAME_COMMIT_NS
            self._commits.append((newest, self._commits.pop()[1] if joined else now_ns))
        while self._commits and self._commits[0][0] <= self._live_after and not self._live:
            self._commits.popleft()
        if len(self._commits) > 1 and now_ns - self._commits[0][1] > LIVE_LAG_NS:
            self._start_live(self._commits[-2][0])

    def live(self) -> Row | None:
        if not self._live and self._live_after < self._newest:
            newest = self._newest
            self._live.extend(self._outbox.unacked(self.prio, self._live_after, _PAGE))
            self._live_after = self._live[-1].id if self._live else newest
        return self._live.popleft() if self._live else None

    def backlog(self) -> Row | None:
        if not self._back and self._back_after < self._live_start:
            rows = self._outbox.unacked(self.prio, self._back_after, _PAGE)
            self._back.extend(row for row in rows if row.id <= self._live_start)
            self._back_after = self._back[-1].id if self._back else self._live_start
        return self._back.popleft() if self._back else None

    def fetch(self, row_id: int) -> Row | None:
        """That row again, None when it is delivered or dropped meanwhile."""
        rows = self._outbox.unacked(self.prio, row_id - 1, 1)
        return rows[0] if rows and rows[0].id == row_id else None

    @property
    def live_start(self) -> int:
        """Rows up to this id are backlog."""
        return self._live_start

    def forget(self, row_id: int) -> None:
        """The row is settled: a page that was read before does not give it again."""
        for page in (self._live, self._back):
            found = next((row for row in page if row.id == row_id), None)
            if found is not None:
                page.remove(found)

    def waiting(self) -> int:
        """About how many rows are not given yet."""
        back = len(self._back) + max(self._live_start - self._back_after, 0)
        return back + len(self._live) + max(self._newest - self._live_after, 0)

    def _start_live(self, after: int) -> None:
        self._live_start = self._live_after = after
        self._live.clear()
        while self._commits and self._commits[0][0] <= after:
            self._commits.popleft()
