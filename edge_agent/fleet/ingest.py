"""The ingest: messages from the broker, committed to PostgreSQL, then confirmed to broker and gateway.

One thread, and that is on purpose: while the database hangs, nobody answers the broker, which gives the connection up
within `KEEPALIVE_S` and a half and forgets the session `session_expiry_s` later. From then on all messages go to the
other processes of the group, and what was stranded here the gateways send again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import msgspec

from edge_agent.errors import Retryable
from edge_agent.fleet import share
from edge_agent.fleet.acks import Acks
from edge_agent.fleet.commit import Counts, Writer, add
from edge_agent.fleet.database import Connection, DatabaseSettings, connected, hold_name
from edge_agent.fleet.intake import MAX_BODY, Delivery, read_message
from edge_agent.fleet.schema import migrate
from edge_agent.links.backoff import Backoff
from edge_agent.links.mqtt import Session
from edge_agent.links.mqtt_types import Connected, Dropped, LinkEvent, Lost, Message, Publication, Settings
from edge_agent.links.mqtt_types import SubscriptionRefused as Refused

KEEPALIVE_S = 8
"""The client asks for three quarters of it, so a broker gives up after 9 s."""
SESSION_EXPIRY_S = 10
OWED = 100
"""Messages that the broker may send ahead of their confirmation."""
ROWS = 1000
"""Of a transaction, about: with more waiting, the rest comes in the next."""
RECONNECT_MAX_S = 30.0
_ACK_EXPIRY_S = 3600
_TURN_S = 0.5

_log = logging.getLogger("edge_agent.fleet")


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`broker` without subscriptions. `name` is the client id, and no second process may have it."""

    broker: Settings
    database: DatabaseSettings
    group: str = "ingest"
    report_s: float = 10.0
    reconnect_max_s: float = RECONNECT_MAX_S
    """Between tries, at most: the wait doubles up to it, with full jitter."""

    @property
    def name(self) -> str:
        return self.broker.client_id


class Progress:
    """What the process has done; any thread may read it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.counts = Counts()
        self.shared: bool | None = None
        self.turns = 0
        """Grows while the loop turns: the watchdog looks at it."""
        self._monotonic = monotonic
        self._last = (monotonic(), 0)

    def line(self) -> str:
        c = self.counts
        now = self._monotonic()
        since, before = self._last
        rate = (c.readings - before) / max(now - since, 1e-9)
        self._last = (now, c.readings)
        return (
            f"{c.messages:,} messages, {c.readings:,} readings ({rate:,.0f}/s), {c.events:,} other entries,"
            f" {c.duplicates:,} duplicates, {c.conflicts:,} conflicts, {c.dead_letters:,} dead letters"
        )


class Ingest:
    """`run` until `stop` is set. It comes back by itself from everything that is not a person's to mend."""

    def __init__(
        self, settings: IngestSettings, *, rng: random.Random, stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.progress = Progress(monotonic)
        self._settings = settings
        self._stop = stop
        self._monotonic = monotonic
        self._backoff = Backoff(rng, settings.reconnect_max_s)
        self._writer = Writer()
        self._verdict = share.Verdict(shared=False)
        self._report_at_s = monotonic() + settings.report_s

    def run(self) -> None:
        """Raises Fatal for what a person has to mend: credentials of the database, tables of a newer version."""
        while not self._stop.is_set():
            try:
                with connected(self._settings.database) as connection:
                    hold_name(connection, self._settings.name)
                    migrate(connection)
                    self._serve(connection)
            except Retryable as e:
                self._wait(e)
        _log.info("stopped: %s", self.progress.line())

    def _wait(self, error: Retryable) -> None:
        wait_s = self._backoff.failed(self._monotonic())
        _log.warning("%s; trying again in %.0f s", error, wait_s)
        end_s = self._monotonic() + wait_s
        while not self._stop.is_set() and (left_s := end_s - self._monotonic()) > 0:
            self.progress.turns += 1
            self._stop.wait(min(left_s, _TURN_S))

    def _serve(self, connection: Connection) -> None:
        """One connection to the broker. Raises Retryable when it, or the database, is gone."""
        if not self._verdict.shared:
            self._verdict = self._tried()
        self.progress.shared = self._verdict.shared
        wanted = share.subscription(self._settings.group, self._verdict)
        session = Session(msgspec.structs.replace(self._settings.broker, subscriptions=(wanted,)))
        try:
            consumer = _Consumer(session, connection, self._writer, self.progress)
            listens = False
            while not self._stop.is_set():
                self.progress.turns += 1
                for event in consumer.turn():
                    self._note(event)
                if session.subscribed and not listens:
                    listens = True
                    self._say_listens()
                self._report()
        finally:
            session.close()

    def _tried(self) -> share.Verdict:
        verdict = share.try_share(self._settings.broker)
        if not verdict.shared:
            hint = "every process of this group gets every message: one is enough"
            _log.warning("no shared subscription: %s; going on with a plain one; %s", verdict.why, hint)
        return verdict

    def _note(self, event: LinkEvent) -> None:
        match event:
            case Connected():
                self._backoff.connected(self._monotonic())
            case Dropped(reason, _):
                _log.warning("a message from %s was dropped: %s", self._where(), reason)
            case Refused(topic, code):
                hint = "allow it in the broker's ACL"
                raise Retryable(f"the broker at {self._where()} refuses {topic}: 0x{code:02x}", hint=hint)
            case Lost():
                raise Retryable(event.reason, hint=event.hint)

    def _say_listens(self) -> None:
        how = f"shared in group {self._settings.group}" if self._verdict.shared else "not shared"
        _log.info("%s listens at %s, %s", self._settings.name, self._where(), how)

    def _where(self) -> str:
        return f"{self._settings.broker.host}:{self._settings.broker.port}"

    def _report(self) -> None:
        if self._monotonic() >= self._report_at_s:
            self._report_at_s = self._monotonic() + self._settings.report_s
            _log.info("%s", self.progress.line())


class _Consumer:
    """One session: what has come and is not committed, and what is to be acknowledged."""

    def __init__(self, session: Session, connection: Connection, writer: Writer, progress: Progress) -> None:
        self._session = session
        self._connection = connection
        self._writer = writer
        self._progress = progress
        self._acks = Acks()

    def turn(self) -> list[LinkEvent]:
        """Takes what is there and commits it; returns what is not a message."""
        other: list[LinkEvent] = []
        batch: list[tuple[int, Delivery]] = []
        rows = 0
        for event in self._session.poll(_TURN_S):
            if not isinstance(event, Message):
                other.append(event)
                continue
            delivery = read_message(event.topic, event.body)
            batch.append((event.mid, delivery))
            rows += max(delivery.rows, 1)
            if rows >= ROWS:
                self._commit(batch)
                batch, rows = [], 0
        if batch:
            self._commit(batch)
        self._send_acks()
        return other

    def _commit(self, batch: list[tuple[int, Delivery]]) -> None:
        outcome = self._writer.commit(self._connection, [delivery for _, delivery in batch])
        add(self._progress.counts, outcome.counts)
        for text in outcome.loud:
            _log.warning("%s", text)
        self._acks.add(outcome)
        for mid, _ in batch:
            self._session.acknowledge(mid)

    def _send_acks(self) -> None:
        session = self._session
        while session.state == "up" and session.in_flight < session.window:
            message = self._acks.take()
            if message is None:
                return
            topic, body = message
            session.publish(Publication(topic, body, content_type="application/json", expiry_s=_ACK_EXPIRY_S))


def broker_settings(settings: Settings) -> Settings:
    """What every ingest asks of its connection, whoever it is."""
    return msgspec.structs.replace(
        settings, keepalive_s=KEEPALIVE_S, owed=OWED, max_body_bytes=MAX_BODY,
    )  # fmt: skip
