"""Topics of a local MQTT broker, as Zigbee2MQTT, Tasmota and PLC bridges publish them.

    [[source]]
    name = "hall"
    kind = "mqtt"
    host = "localhost"
    [[source.topics]]
    filter = "zigbee2mqtt/+"
    stream_level = 2                               # zigbee2mqtt/kitchen -> stream kitchen
    streams = { kitchen = "Kitchen Sensor" }       # and names that are not well-formed by a table
    fields = { temp = "temperature", humidity = "humidity" }
    [[source.topics]]
    filter = "plc/line1"
    stream = "press"
    fields = { oil_temp = "/values/id=Press.OilTemp/v" }
    quality = { oil_temp = "/values/id=Press.OilTemp/q" }

Each message is one reading, stamped when it came. The session is not kept by the broker: what was published while
the agent was away would be stamped wrong. A message that fits no reading is counted by its reason and kept in the
quarantine: `malformed`, `too_large`, `no_value`, `unknown_stream`, `unmapped_topic`, `bad_topic`, `int_range`,
`text_length`, `value_type`, `field_name`, `too_many_fields`. Numbers that are not finite have quality BAD.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Port, TlsConfig
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.mqtt import Session
from edge_agent.links.mqtt_reasons import publish_code
from edge_agent.links.mqtt_types import Dropped, Lost, Message, Settings, Subscription, SubscriptionRefused
from edge_agent.ports import Context
from edge_agent.sources.mqtt_mapping import TopicMap, TopicReader, matches
from edge_agent.types import Quality, Reading


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of an `mqtt` source."""

    topics: Annotated[tuple[TopicMap, ...], Meta(min_length=1, max_length=64)]
    """`[[source.topics]]`: what to subscribe to and what it means."""
    host: str = "localhost"
    """The broker."""
    port: Port = 1883
    """8883 with `tls`, usually."""
    version: Literal["5", "3.1.1"] = "5"
    """Older brokers need 3.1.1."""
    client_id: str | None = None
    """Default: made of the host's and the source's name; no other client may use it."""
    username: str | None = None
    """Where the broker asks for one."""
    password_file: str | None = None
    """Path, or `credential:NAME` for a systemd credential."""
    tls: TlsConfig | None = None
    """Files: ca, cert, key."""
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 15
    """A silent connection is noticed within one and a half times this."""
    qos: Literal[0, 1] = 1
    """1: the broker sends again what was lost on the way."""
    retained: Literal["flag", "ignore", "accept"] = "flag"
    """Values from before, which the broker kept: uncertain, which rules do not trust; left out; or taken as new."""
    max_payload: Annotated[int, Meta(ge=16, le=1_048_576)] = 65_536
    """Bytes; a larger message is dropped."""


def open(config: Config, context: Context) -> MqttSource:  # noqa: A001 - the seam's name
    """Starts to connect; `read` says how it went."""
    settings = Settings(
        host=config.host,
        port=config.port,
        client_id=config.client_id or f"edge-agent-{socket.gethostname()}-{context.name}",
        version=config.version,
        username=config.username,
        password_file=config.password_file,
        tls=config.tls,
        keepalive_s=config.keepalive_s,
        session_expiry_s=0,
        max_body_bytes=config.max_payload,
        subscriptions=tuple(
            Subscription(t.filter, qos=config.qos, retained=config.retained != "ignore") for t in config.topics
        ),
    )
    return MqttSource(config, context, Session(settings))


class MqttSource:
    """ports.Source over one session."""

    def __init__(self, config: Config, context: Context, session: Session) -> None:
        self._retained = config.retained
        self._clock = context.clock
        self._counters = context.counters
        self._session = session
        self._readers = [TopicReader(t, context.name, context.fields) for t in config.topics]
        self._known: dict[str, TopicReader] = {}
        self._lost: Retryable | None = None

    def read(self, timeout_s: float) -> Sequence[Reading]:
        if self._lost is not None:
            raise self._lost
        readings: list[Reading] = []
        for event in self._session.poll(timeout_s):
            match event:
                case Message():
                    self._take(event, readings)
                case Dropped(reason, item):
                    self._counters.quarantine(reason, item)
                case SubscriptionRefused(topic, code):
                    hint = "check username, password_file and the broker's ACL"
                    self._lost = Retryable(f"the broker refuses {topic}: {publish_code(code)}", hint=hint)
                case Lost(reason, hint):
                    self._lost = Retryable(reason, hint=hint)
        if self._lost is not None and not readings:
            raise self._lost
        return readings

    def close(self) -> None:
        self._session.close()

    def _take(self, message: Message, readings: list[Reading]) -> None:
        if message.retained and self._retained == "ignore":
            self._counters.count("retained_ignored")
            return
        reader = self._reader(message.topic)
        if reader is None:
            self._counters.quarantine("unmapped_topic", message.topic.encode())
            return
        try:
            reading = reader.reading(message.topic, message.body, self._clock.now())
        except Rejected as e:
            self._counters.quarantine(e.message, message.body)
            return
        readings.append(_flagged(reading) if message.retained and self._retained == "flag" else reading)

    def _reader(self, topic: str) -> TopicReader | None:
        """The first of the site file's filters that fits."""
        reader = self._known.get(topic)
        if reader is None:
            reader = next((r for r in self._readers if matches(r.levels, topic)), None)
            if reader is not None and len(self._known) < 4096:
                self._known[topic] = reader
        return reader


def _flagged(reading: Reading) -> Reading:
    """The value may be from last year: nothing that was good stays good."""
    quality = dict.fromkeys(reading.values, Quality.UNCERTAIN)
    return msgspec.structs.replace(reading, quality={**quality, **(reading.quality or {})})
