"""Rows over MQTT: QoS 1, one connection at a time, birth and will, acknowledgements and commands coming back."""

from __future__ import annotations

import random
import select
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from edge_agent.config.site import UplinkConfig
from edge_agent.contract import messages, topics
from edge_agent.durations import parse_duration
from edge_agent.errors import Rejected
from edge_agent.links import mqtt_reasons as reasons
from edge_agent.links.backoff import Backoff
from edge_agent.links.mqtt import Session
from edge_agent.links.mqtt_types import (
    Confirmed,
    Connected,
    Dropped,
    LinkEvent,
    Lost,
    Message,
    Publication,
    Settings,
    Subscription,
    SubscriptionRefused,
)
from edge_agent.links.waker import Waker
from edge_agent.ports import Acked, Counters, Down, Inbound, Refused, Row, Traffic, Up, UplinkEvent
from edge_agent.uplink import publications
from edge_agent.uplink.ack import MAX_BYTES, decode_ack
from edge_agent.uplink.breaks import Breaks

CAPS = ["deflate", "ack"]
_GOODBYE_S = 1.0
_MEASURE_S = 1.0
_ANSWERS = 256
"""So many commands can wait for their answers to be confirmed; whoever repeats one is answered again."""


class Identity(msgspec.Struct, frozen=True):
    """Who is born: named in `up/state`."""

    topics: topics.Gateway
    epoch: str
    start_no: int
    schemas: dict[str, str] = {}

    def document(self, suffix: str, body: bytes, correlation: bytes = b"") -> Publication:
        return publications.of_document(self.topics, self.epoch, suffix, body, correlation)

    def state(self, *, online: bool, reason: str = "") -> Publication:
        """Birth, and death or will with its reason."""
        state = messages.State(
            gw=self.topics.gateway,
            online=online,
            epoch=self.epoch,
            start_no=self.start_no if online else None,
            caps=CAPS if online else [],
            schemas=self.schemas if online else {},
            reason=reason,
        )
        return self.document(topics.STATE, msgspec.json.encode(state))


def settings_of(config: UplinkConfig, identity: Identity) -> Settings:
    """The link's settings: the will says `lost`, commands and acknowledgements are wanted, kept ones are not."""
    t = identity.topics
    return Settings(
        host=config.host,
        port=config.port,
        client_id=config.client_id or t.gateway,
        version=config.version,
        username=config.username,
        password_file=config.password_file,
        tls=config.tls,
        keepalive_s=config.keepalive_s,
        session_expiry_s=config.session_expiry_s,
        window=config.window,
        max_body_bytes=MAX_BYTES,
        will=identity.state(online=False, reason="lost"),
        subscriptions=(
            Subscription(t.down(topics.ACK), retained=False),
            Subscription(t.down(topics.CMD, "+"), retained=False),
            Subscription(t.down(topics.DESIRED), retained=True),
        ),
    )


class MqttUplink:
    """ports.Uplink. It comes back by itself: full jitter from 1 to 120 s, never more than one attempt a second."""

    def __init__(
        self, config: UplinkConfig, identity: Identity, *, counters: Counters, rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._settings = settings_of(config, identity)
        self._identity = identity
        self._ack_topic = identity.topics.down(topics.ACK)
        self._counters = counters
        self._monotonic = monotonic
        self._backoff = Backoff(rng, parse_duration(config.reconnect_max) / 1e9)
        self._measures = config.budget is not None
        self._measure_at_s = monotonic()
        self._breaks = Breaks()
        self._was_up = False
        self._waker = Waker()
        self._session: Session | None = None
        self._dial_at_s = monotonic()
        self._documents: dict[str, Publication] = {}
        self._fresh: dict[str, Publication] = {}
        """Documents that the broker has not been given yet."""
        self._rows: deque[Row] = deque()
        self._answers: dict[str, Publication] = {}
        """The newest of each command that is not confirmed."""
        self._sent: dict[int, tuple[int, int] | Publication] = {}
        """By message id: the row's key, or the document."""
        self._early: list[UplinkEvent] = []

    def send(self, row: Row) -> None:
        self._rows.append(row)
        self._pump()

    def publish_latest(self, suffix: str, body: bytes) -> None:
        self._documents[suffix] = self._fresh[suffix] = self._identity.document(suffix, body)
        self._pump()

    def answer(self, suffix: str, body: bytes, correlation: bytes) -> None:
        self._answers[suffix] = self._fresh[suffix] = self._identity.document(suffix, body, correlation)
        if len(self._answers) > _ANSWERS:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            self._fresh.pop(oldest, None)
            self._counters.count("answers_dropped")
        self._pump()

    def poll(self, timeout_s: float) -> Sequence[UplinkEvent]:
        if self._early:
            timeout_s = 0.0
        if self._session is None and not self._dial(timeout_s):
            return self._take_early()
        assert self._session is not None
        acked: list[tuple[int, int]] = []
        for event in self._session.poll(timeout_s):
            self._translate(event, acked)
        self._pump()
        if self._measures and self._session is not None and self._monotonic() >= self._measure_at_s:
            self._measure(self._session)
        if acked:
            self._early.insert(0, Acked(tuple(acked)))
        return self._take_early()

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        """Says that this is on purpose; the broker has a second to take it."""
        if self._session is not None:
            self._say_goodbye(self._session)
            self._session.close()
            self._session = None
        self._waker.close()

    def _dial(self, timeout_s: float) -> bool:
        wait_s = self._dial_at_s - self._monotonic()
        if wait_s > 0:
            poller = select.poll()
            poller.register(self._waker.fd, select.POLLIN)
            if poller.poll(min(timeout_s, wait_s) * 1000):
                self._waker.clear()
            return False
        self._counters.count("dials")
        self._session = Session(self._settings, waker=self._waker, monotonic=self._monotonic)
        return True

    def _translate(self, event: LinkEvent, acked: list[tuple[int, int]]) -> None:
        match event:
            case Confirmed(mid, code):
                self._confirmed(mid, code, acked)
            case Message():
                self._received(event)
            case Connected():
                self._connected(event)
            case Lost():
                self._lost(event)
            case SubscriptionRefused(topic, code):
                self._counters.count("subscriptions_refused")
                self._counters.note("subscription_refused", f"{topic}: {reasons.publish_code(code)}")
            case Dropped(reason, item):
                self._counters.quarantine(f"down_{reason}", item)

    def _connected(self, event: Connected) -> None:
        self._was_up = True
        self._backoff.connected(self._monotonic())
        self._counters.note("session_present", event.session_present)
        self._fresh = {topics.STATE: self._identity.state(online=True), **self._documents, **self._answers}
        assert self._session is not None
        self._early.append(Up(event.window, link=self._session.link() if self._measures else ""))

    def _lost(self, event: Lost) -> None:
        now = self._monotonic()
        self._dial_at_s = now + self._backoff.failed(now, busy=event.busy)
        assert self._session is not None
        if self._measures:
            self._measure(self._session)
        self._session.close()
        self._session = None
        self._rows.clear()
        self._sent.clear()
        self._early.append(Down(self._why(event, now)))

    def _measure(self, session: Session) -> None:
        self._measure_at_s = self._monotonic() + _MEASURE_S
        self._early.append(Traffic(session.wire_bytes()))

    def _why(self, event: Lost, now: float) -> str:
        """With how often, where it is not the first time: a broker that flaps, two clients that share an id."""
        if self._was_up:
            self._breaks.add(now)
        self._was_up = False
        often = self._breaks.words(now)
        return str(Lost(f"{event.reason}, {often}", event.hint) if often else event)

    def _confirmed(self, mid: int, code: int, acked: list[tuple[int, int]]) -> None:
        key = self._sent.pop(mid, None)
        if code >= 0x80:
            self._counters.count("publish_" + reasons.publish_code(code))
        if key is None:
            return
        if isinstance(key, Publication):
            self._answers = {suffix: a for suffix, a in self._answers.items() if a is not key}
        elif code < 0x80:
            acked.append(key)
            if code == reasons.NO_SUBSCRIBERS:
                self._counters.count("no_subscribers")
        else:
            self._early.append(Refused(key, reasons.publish_code(code), reasons.may_retry(code)))

    def _received(self, message: Message) -> None:
        if message.topic != self._ack_topic:
            asked = (message.response_topic, message.correlation)
            self._early.append(Inbound(message.topic, message.body, message.retained, *asked))
            return
        if message.retained:
            self._counters.quarantine("ack_retained", message.body)
            return
        try:
            self._early.append(decode_ack(message.body))
        except Rejected as e:
            self._counters.note("ack_refused", e.message)
            self._counters.quarantine("ack_malformed", message.body)

    def _pump(self) -> None:
        """Hands over as much as the broker's window allows: documents first."""
        session = self._session
        while session is not None and session.state == "up" and session.in_flight < session.window:
            if self._fresh:
                suffix = next(iter(self._fresh))
                document = self._fresh.pop(suffix)
                self._publish(session, document, document)
            elif self._rows:
                row = self._rows.popleft()
                self._publish(session, publications.of_row(self._identity.topics, row), (row.prio, row.id))
            else:
                return

    def _publish(self, session: Session, publication: Publication, key: tuple[int, int] | Publication) -> None:
        try:
            self._sent[session.publish(publication)] = key
        except Rejected as e:
            self._counters.note("too_large", e.message)
            self._counters.count("publish_packet_too_large")
            if not isinstance(key, Publication):
                self._early.append(Refused(key, reasons.PUBLISH_CODES[0x95], retry=False))

    def _take_early(self) -> list[UplinkEvent]:
        events, self._early = self._early, []
        return events

    def _say_goodbye(self, session: Session) -> None:
        self._fresh = {topics.STATE: self._identity.state(online=False, reason="stopped")}
        self._rows.clear()
        end = self._monotonic() + _GOODBYE_S
        while session.state == "up" and (self._fresh or session.in_flight) and self._monotonic() < end:
            self._pump()
            session.poll(0.1)
