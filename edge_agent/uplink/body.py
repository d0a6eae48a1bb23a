"""The uplink's thread: asks the transport what happened, tells the drain, sends what is next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from edge_agent.health import PartHealth
from edge_agent.ports import Clock, Down, Inbound, Reply, Up, Uplink, UplinkEvent
from edge_agent.types import Event, HealthChange
from edge_agent.uplink.budget import Spender
from edge_agent.uplink.drain import Drain
from edge_agent.uplink.metering import Meter

_TURN_S = 1.0
_LEAST_S = 0.02
"""A deadline that cannot be met yet (the window is full) is looked at again after this."""
DEAD_LETTERS = "uplink.dead_letters"
"""The part whose alert says that a row was refused for good; it clears when none was for an hour."""
_QUIET_NS = 3_600_000_000_000


class UplinkBody:
    """ports.Body. `wake` after each commit; `publish_latest` replaces a retained document; both from any thread.

    `inbound` takes what comes beside acknowledgements, and `replies`, asked at least once a second, gives what is to
    be answered, in its order; both on this thread. Each `run` begins with a new transport and a new drain: what
    a bug left behind is in the outbox still.
    """

    name = "uplink"

    def __init__(
        self, transport: Callable[[], Uplink], drain: Callable[[], Drain], *, clock: Clock, health: PartHealth,
        post: Callable[[list[Event]], None], inbound: Callable[[Inbound], None], meter: Meter | None = None,
        replies: Callable[[], list[Reply]] = list,
    ) -> None:  # fmt: skip
        self.progress_ns = 0
        self._make_transport = transport
        self._make_drain = drain
        self._uplink = transport()
        self._drain = drain()
        self._used = False
        self._clock = clock
        self._health = health
        self._post = post
        self._inbound = inbound
        self._replies = replies
        self._meter = meter
        self._connected = False
        self._reason = ""
        self._refused = 0
        """Rows, of this drain, that people were told of."""
        self._refused_ns: int | None = None
        self._latest: dict[str, bytes] = {}
        self._fresh: dict[str, bytes] = {}
        """Documents that this transport was not given yet."""
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self) -> None:
        if self._used:
            self._begin_again()
        self._used = True
        try:
            while not self._stop.is_set():
                self._round()
        finally:
            self._uplink.close()
            if self._meter:
                self._meter.save(self._clock.mono_ns(), now=True)

    def stop(self) -> None:
        self._stop.set()
        self._uplink.wake()

    def wake(self) -> None:
        """Something was committed."""
        self._uplink.wake()

    def publish_latest(self, suffix: str, body: bytes) -> None:
        """`health`, `reported`: only the newest counts; goes out now, and again after each reconnect."""
        with self._lock:
            self._latest[suffix] = self._fresh[suffix] = body
        self._uplink.wake()

    def to_dict(self) -> dict[str, Any]:
        """For status; any thread."""
        document = self._drain.to_dict(self._clock.mono_ns())
        return {"connected": self._connected, "reason": self._reason, **document}

    def _round(self) -> None:
        for event in self._uplink.poll(self._timeout_s()):
            self._handle(event)
        now_ns = self.progress_ns = self._clock.mono_ns()
        self._publish_latest(now_ns)
        for reply in self._replies():
            self._uplink.answer(reply.suffix, reply.body, reply.correlation)
        self._drain.look(now_ns)
        while (row := self._drain.next(now_ns)) is not None:
            self._uplink.send(row)
        self._report(now_ns)
        self._report_dead_letters(now_ns)
        if self._meter:
            self._meter.save(now_ns)

    def _handle(self, event: UplinkEvent) -> None:
        match event:
            case Inbound():
                self._health.count("inbound")
                self._inbound(event)
                return
            case Up():
                self._connected, self._reason = True, ""
                self._health.count("connects")
            case Down(reason):
                self._connected, self._reason = False, reason
                self._health.note("last_error", reason)
        self._drain.handle(event, self._clock.mono_ns())

    def _publish_latest(self, now_ns: int) -> None:
        """On a link that costs, a document waits for its share of the day; only the newest of each is kept."""
        if self._meter and not (self._connected and self._meter.budget.allows(Spender.DOCUMENT, now_ns)):
            return
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        for suffix, body in fresh.items():
            if self._meter:
                self._meter.budget.spend(Spender.DOCUMENT, len(body), now_ns)
            self._uplink.publish_latest(suffix, body)

    def _begin_again(self) -> None:
        self._connected, self._reason = False, "restarted after a bug"
        self._drain = self._make_drain()
        self._refused = 0
        self._uplink = self._make_transport()
        with self._lock:
            self._fresh = dict(self._latest)

    def _timeout_s(self) -> float:
        now_ns = self._clock.mono_ns()
        deadline_ns = self._drain.deadline_ns(now_ns)
        if deadline_ns is None:
            return _TURN_S
        return min(max((deadline_ns - now_ns) / 1e9, _LEAST_S), _TURN_S)

    def _report(self, now_ns: int) -> None:
        """Tells the rules and status when delivering starts or stops to work."""
        if not self._connected and not self._reason:
            return  # the first attempt is under way
        reason = self._drain.trouble(now_ns) if self._connected else self._reason
        up = self._connected and not reason
        if self._health.up == up and self._health.reason == reason:
            return
        stamp = self._clock.now()
        if self._health.turn(up, stamp, reason):
            self._post([HealthChange(self.name, up, stamp, reason)])

    def _report_dead_letters(self, now_ns: int) -> None:
        """One alert for as long as rows are refused: each is named in status, and declared to the backend."""
        refused = self._drain.counts.refused
        if refused != self._refused:
            self._refused, self._refused_ns = refused, now_ns
            why = str(self._drain.dead_letter)
            self._post([HealthChange(DEAD_LETTERS, False, self._clock.now(), why, alert=True)])
        elif self._refused_ns is not None and now_ns - self._refused_ns > _QUIET_NS:
            self._refused_ns = None
            self._post([HealthChange(DEAD_LETTERS, True, self._clock.now())])
