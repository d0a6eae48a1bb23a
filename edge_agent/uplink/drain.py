"""Which row goes next, and what has become of those that went: the delivery policy, without I/O, clock or thread.

Promises: a row is reported delivered only after the broker (or, in backend mode, the backend, for every one of
its segments) has confirmed it; a row that is neither delivered nor refused is sent again; never more rows are in
flight than the transport allows; alerts, decisions and the ledger go before telemetry, and what is committed now
goes before what waited.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from edge_agent.contract.rows import PRIORITIES
from edge_agent.ports import Acked, BackendAck, Down, Outbox, Refused, Row, Traffic, Up, UplinkEvent
from edge_agent.uplink.budget import Spender
from edge_agent.uplink.metering import Meter
from edge_agent.uplink.queue import Queue
from edge_agent.uplink.rate import Rate
from edge_agent.uplink.refusals import DeadLetter, door
from edge_agent.uplink.set_aside import DISCONNECTS, SetAside
from edge_agent.uplink.suspects import Suspects
from edge_agent.uplink.uncovered import Key, Uncovered

UNCOVERED_ROWS = 500
"""Per priority: sent, and not yet covered by the backend. With more, only rows that are due again are sent."""
_SILENT_NS = 60_000_000_000
_QUOTA_FIRST_NS = 1_000_000_000
_QUOTA_MOST_NS = 60_000_000_000


class Policy(msgspec.Struct, frozen=True):
    """`backend`: a row stays until the backend has confirmed it. `backlog_rate`: rows per second, None: no limit.
    `slow_after_ns`: the next hop is called slow when a row is unconfirmed for so long, None: it takes its time."""

    backend: bool = False
    resend_after_ns: int = 30_000_000_000
    backlog_rate: int | None = None
    slow_after_ns: int | None = 10_000_000_000


class Counts(msgspec.Struct):
    """Since the start of the agent, in rows."""

    sent: int = 0
    resent: int = 0
    delivered: int = 0
    refused: int = 0
    thinned: int = 0
    connects: int = 0


class Drain:
    """One thread: `handle` what the transport says, then take from `next` until it gives None."""

    def __init__(self, outbox: Outbox, policy: Policy, meter: Meter | None = None) -> None:
        """`meter`: what the link may cost; None where it is free."""
        self.counts = Counts()
        self.dead_letter: DeadLetter | None = None
        """The newest."""
        self._outbox = outbox
        self._backend = policy.backend
        self._queues = tuple(Queue(outbox, prio) for prio in PRIORITIES)
        self._uncovered = Uncovered(policy.resend_after_ns)
        self._silent_ns = max(3 * policy.resend_after_ns, _SILENT_NS)
        self._aside = SetAside()
        self._rate = Rate(policy.backlog_rate)
        self._meter = meter
        self._slow_after_ns = policy.slow_after_ns
        self._in_flight: dict[Key, Row] = {}
        self._launched: dict[Key, int] = {}
        """When, of those in flight, oldest first."""
        self._bytes = 0
        self._up: Up | None = None
        self._worked = False
        self._suspects = Suspects()
        self._hold_until_ns = 0
        self._quota_ns = _QUOTA_FIRST_NS
        self._turn = count()

    # what the transport says

    def handle(self, event: UplinkEvent, now_ns: int) -> None:
        match event:
            case Acked(rows):
                self._acked(rows)
            case BackendAck():
                self._covered(event, now_ns)
            case Refused(row, code, retry):
                self._refused(row, code, retry=retry, now_ns=now_ns)
            case Up():
                self._connected(event, now_ns)
            case Traffic(total_bytes):
                if self._meter:
                    self._meter.budget.measured(total_bytes, now_ns)
            case Down():
                self._broke(now_ns)

    def _connected(self, up: Up, now_ns: int) -> None:
        self._up = up
        self._worked = False
        self.counts.connects += 1
        if self._meter:
            self._meter.connected(up.link, now_ns)
        for queue in self._queues:
            queue.connected()
        self._uncovered.start_over(now_ns)

    def _broke(self, now_ns: int) -> None:
        self._up = None
        culprit = self._suspects.broke(self._in_flight, worked=self._worked)
        if culprit is not None:
            self._set_aside(self._land(culprit), culprit, DISCONNECTS, now_ns)
        for queue in self._queues:
            ids = [row_id for prio, row_id in self._in_flight if prio == queue.prio]
            queue.rewind(min(ids, default=None))
        for key in self._in_flight:
            if key in self._aside:
                self._aside.back(key, now_ns)
        self._in_flight.clear()
        self._launched.clear()
        self._bytes = 0
        if self._meter:
            self._meter.budget.ended(now_ns)

    def _acked(self, rows: tuple[Key, ...]) -> None:
        self._worked = True
        self._quota_ns = _QUOTA_FIRST_NS
        arrived = []
        for key in rows:
            row = self._land(key)
            if row is None:
                continue
            self._aside.done(key)
            self._suspects.clear(key)
            if not self._backend or not row.segments:
                arrived.append(key)
        self._delivered(arrived)

    def _covered(self, ack: BackendAck, now_ns: int) -> None:
        if not self._backend:
            return
        complete = self._uncovered.cover(ack, now_ns)
        for key, code in complete:
            self._aside.done(key)
            self._queues[key[0]].forget(key[1])
            if code:
                self._bury(key, code, "the backend")
        self._delivered([key for key, code in complete if not code])

    def _refused(self, key: Key, code: str, *, retry: bool, now_ns: int) -> None:
        row = self._land(key)
        if row is None:
            return
        self._worked = True
        self._suspects.clear(key)
        if code == "quota_exceeded":
            self._hold_until_ns = now_ns + self._quota_ns
            self._quota_ns = min(self._quota_ns * 2, _QUOTA_MOST_NS)
        if retry:
            self._set_aside(row, key, code, now_ns)
        else:
            self._give_up(row, key, code)

    def _set_aside(self, row: Row | None, key: Key, code: str, now_ns: int) -> None:
        if not self._aside.put(key, code, now_ns):
            self._give_up(row, key, code)

    def _give_up(self, row: Row | None, key: Key, code: str) -> None:
        self._aside.done(key)
        self._uncovered.forget(key, row)
        self._bury(key, code, "the broker")

    def _bury(self, key: Key, code: str, by: str) -> None:
        self._outbox.refused(key, code)
        self.counts.refused += 1
        self.dead_letter = DeadLetter(key, code, by)

    def _delivered(self, keys: list[Key]) -> None:
        if keys:
            self._outbox.delivered(keys)
            self.counts.delivered += len(keys)

    def _land(self, key: Key) -> Row | None:
        row = self._in_flight.pop(key, None)
        if row is not None:
            del self._launched[key]
            self._bytes -= len(row.body)
        return row

    # what goes next

    def look(self, now_ns: int) -> None:
        """Notices what was committed; call it before a round of `next`."""
        for queue in self._queues:
            queue.look(now_ns)
        if self._meter:
            self._thin(self._meter, now_ns)

    def _thin(self, meter: Meter, now_ns: int) -> None:
        """Whole rows of telemetry, while more waits than could ever be carried."""
        tele = self._queues[-1]
        for key in meter.too_much(tele.live_start, now_ns):
            if not self._is_under_way(key):
                tele.forget(key[1])
                self._outbox.thinned([key])
                self.counts.thinned += 1

    def next(self, now_ns: int) -> Row | None:
        """The row to send now; it is in flight from here on. None when nothing may go."""
        if self._up is None or now_ns < self._hold_until_ns:
            return None
        if len(self._in_flight) >= (1 if self._suspects.line else self._up.window) or self._on_trial():
            return None
        if not self._may_spend(0, live=True, now_ns=now_ns):
            return None
        row = self._retried(now_ns) if self._worked else None
        row = row or self._resent(now_ns) or self._fresh(now_ns)
        if row is None and not self._worked:
            row = self._retried(now_ns)
        if row is not None:
            self._launch(row, now_ns)
        return row

    def _retried(self, now_ns: int) -> Row | None:
        """Suspects, and rows set aside whose time has come; best after others have proved the connection."""
        line = self._suspects.line
        while line:
            row = self._queues[line[0][0]].fetch(line[0][1])
            if row is not None:
                return row
            self._gone(line[0])
        while (key := self._aside.due(now_ns)) is not None:
            if self._aside.breaks_connections(key) and self._in_flight:
                return None  # it goes alone
            row = self._queues[key[0]].fetch(key[1])
            if row is not None:
                self._aside.took(key)
                return row
            self._gone(key)
        return None

    def _on_trial(self) -> bool:
        return len(self._in_flight) == 1 and any(
            key in self._aside and self._aside.breaks_connections(key) for key in self._in_flight
        )

    def _gone(self, key: Key) -> None:
        """The store dropped the row and has declared its numbers as lost."""
        self._suspects.clear(key)
        self._aside.done(key)
        self._uncovered.forget(key)

    def _resent(self, now_ns: int) -> Row | None:
        while (key := self._uncovered.due(now_ns)) is not None:
            if key in self._in_flight or key in self._aside or not self._may_spend(key[0], live=False, now_ns=now_ns):
                self._uncovered.postpone(key, now_ns)
                continue
            row = self._queues[key[0]].fetch(key[1])
            if row is not None:
                self.counts.resent += 1
                return row
            self._gone(key)
        return None

    def _fresh(self, now_ns: int) -> Row | None:
        assert self._up is not None
        urgent, *_ = self._queues
        row = self._take(urgent, now_ns, live=True)
        if row is None and self._bytes >= self._up.window_bytes:
            return self._take(urgent, now_ns, live=False)
        if row is None and next(self._turn) % 2:
            row = self._take(urgent, now_ns, live=False) or self._live(now_ns)
        elif row is None:
            row = self._live(now_ns) or self._take(urgent, now_ns, live=False)
        return row or self._backlog(now_ns)

    def _live(self, now_ns: int) -> Row | None:
        for queue in self._queues[1:]:
            if (row := self._take(queue, now_ns, live=True)) is not None:
                return row
        return None

    def _backlog(self, now_ns: int) -> Row | None:
        if not self._rate.allows(now_ns):
            return None
        for queue in self._queues[1:]:
            if (row := self._take(queue, now_ns, live=False)) is not None:
                self._rate.spend()
                return row
        return None

    def _take(self, queue: Queue, now_ns: int, *, live: bool) -> Row | None:
        """The queue's next row that is not on its way already."""
        if self._aside.full(queue.prio) or self._uncovered.count(queue.prio) >= UNCOVERED_ROWS:
            return None
        if not self._may_spend(queue.prio, live=live, now_ns=now_ns):
            return None
        while (row := queue.live() if live else queue.backlog()) is not None:
            if not self._is_under_way((row.prio, row.id)):
                return row
        return None

    def _is_under_way(self, key: Key) -> bool:
        return any(key in known for known in (self._in_flight, self._uncovered, self._aside, self._suspects))

    def _may_spend(self, prio: int, *, live: bool, now_ns: int) -> bool:
        return self._meter is None or self._meter.budget.allows(_spender(prio, live=live), now_ns)

    def _launch(self, row: Row, now_ns: int) -> None:
        key = (row.prio, row.id)
        self._in_flight[key] = row
        self._launched[key] = now_ns
        self._bytes += len(row.body)
        self.counts.sent += 1
        if self._meter:
            self._meter.sent(_spender(row.prio, live=True), row, now_ns)
        if self._backend and row.segments:
            self._uncovered.sent(row, now_ns)

    # what people are told

    def deadline_ns(self, now_ns: int) -> int | None:
        """When `next` may give a row although nothing happened; None: only an event or a commit can change that."""
        if self._up is None or not self._may_spend(0, live=True, now_ns=now_ns):
            return None
        times = [self._aside.deadline_ns(), self._uncovered.deadline_ns()]
        if self._hold_until_ns > now_ns:
            times = [self._hold_until_ns]
        elif any(queue.waiting() for queue in self._queues):
            times.append(self._rate.next_ns(now_ns))
        return min((t for t in times if t is not None), default=None)

    def trouble(self, now_ns: int) -> str:
        """Why rows do not get through although the connection is up, and what to do; empty when they do."""
        if code := self._aside.closed_door():
            return f"rows are refused: {door(code)}"
        oldest_ns = self._uncovered.oldest_ns()
        if oldest_ns is not None:
            quiet_ns = now_ns - max(oldest_ns, self._uncovered.last_ack_ns or 0)
            if quiet_ns > self._silent_ns:
                hint = "is the ingest running, and may it publish to down/ack? all rows are kept"
                return f"no backend acknowledgements for {quiet_ns // 1_000_000_000} s; {hint}"
        return self._slowness(now_ns) or (self._meter.trouble(now_ns) if self._meter else "")

    def _slowness(self, now_ns: int) -> str:
        owed_ns = now_ns - next(iter(tuple(self._launched.values())), now_ns)
        if self._slow_after_ns is None or owed_ns <= self._slow_after_ns:
            return ""
        hint = "is the broker busy or its disk slow, or is this line? what comes meanwhile waits on the disk"
        return f"the broker is slow: {len(self._launched)} rows wait {owed_ns // 10**9} s for its answer; {hint}"

    def to_dict(self, now_ns: int) -> dict[str, Any]:
        oldest_ns = self._uncovered.oldest_ns()
        return {
            **msgspec.to_builtins(self.counts),
            "in_flight": len(self._in_flight),
            "owed_s": round((now_ns - next(iter(tuple(self._launched.values())), now_ns)) / 1e9, 1),
            "last_dead_letter": str(self.dead_letter or ""),
            "waiting": sum(queue.waiting() for queue in self._queues),
            "uncovered": len(self._uncovered),
            "oldest_uncovered_s": None if oldest_ns is None else round((now_ns - oldest_ns) / 1e9, 1),
            "set_aside": len(self._aside),
            **({"budget": self._meter.budget.to_dict(now_ns)} if self._meter else {}),
        }


def _spender(prio: int, *, live: bool) -> Spender:
    """What waited costs as telemetry does, whatever its kind; but for alerts, decisions and the ledger."""
    if prio == 0:
        return Spender.URGENT
    if not live:
        return Spender.BACKLOG
    return Spender.PREDICTION if prio == 1 else Spender.LIVE
