"""A device behind a local MQTT broker, as Zigbee2MQTT, Tasmota and PLC bridges take commands.

    [[actuator]]
    name = "plug"
    kind = "mqtt"
    host = "localhost"
    topic = "zigbee2mqtt/{target}/set"          # plug.fan = "ON" goes to zigbee2mqtt/fan/set
    payload = '{"state":{value}}'
    state_topic = "zigbee2mqtt/{target}"        # and is done when the device says so here
    state_key = "state"

Commands are never retained unless the site asks for it. Without `state_topic` done means that the broker has it
and, where it speaks MQTT 5, that somebody has subscribed.
"""

from __future__ import annotations

import re
import socket
from time import monotonic
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_agent.actuators.read_back import same
from edge_agent.config.site import Port, TlsConfig
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.mqtt import Session, open_session
from edge_agent.links.mqtt_reasons import publish_code
from edge_agent.links.mqtt_types import (
    Confirmed,
    LinkEvent,
    Lost,
    Message,
    Publication,
    Settings,
    Subscription,
    SubscriptionRefused,
)
from edge_agent.ports import Clock, Context
from edge_agent.types import Act, Receipt, Value

_OPEN_S = 5.0
_KEEPALIVE_S = 3600
"""The session is only looked at when there is something to do."""
_NO_SUBSCRIBER = 0x10
_TARGET = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of an `mqtt` actuator."""

    topic: Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^+#]*$")]
    """Where commands go; `{target}` is what is set."""
    payload: str = "{value}"
    """What is sent: `{value}` is the value as JSON, `{text}` the same without quotes, `{target}` what is set."""
    state_topic: Annotated[str, Meta(max_length=256, pattern="^[^+#]*$")] = ""
    """Where the device tells its state; done is when it tells the value that was set. `{target}` as a whole level."""
    state_key: str = ""
    """The key of that value in a JSON object; empty: the whole message."""
    retain: bool = False
    """True for devices that sleep: the broker keeps the command for them."""
    host: str = "localhost"
    """The broker."""
    port: Port = 1883
    """8883 with `tls`, usually."""
    version: Literal["5", "3.1.1"] = "5"
    """Older brokers need 3.1.1."""
    client_id: str | None = None
    """Default: made of the host's and the actuator's name; no other client may use it."""
    username: str | None = None
    """Where the broker asks for one."""
    password_file: str | None = None
    """Path, or `credential:NAME` for a systemd credential."""
    tls: TlsConfig | None = None
    """Files: ca, cert, key."""

    def __post_init__(self) -> None:
        if any("{target}" in level and level != "{target}" for level in self.state_topic.split("/")):
            raise ValueError("state_topic: {target} must be a whole level, as in devices/{target}/state")


def open(config: Config, context: Context) -> MqttActuator:  # noqa: A001 - the seam's name
    """Connects. Raises Retryable with the cause when there is no session within 5 s."""
    states = config.state_topic.replace("{target}", "+")
    settings = Settings(
        host=config.host,
        port=config.port,
        client_id=config.client_id or f"edge-agent-{socket.gethostname()}-act-{context.name}",
        version=config.version,
        username=config.username,
        password_file=config.password_file,
        tls=config.tls,
        keepalive_s=_KEEPALIVE_S,
        session_expiry_s=0,
        # what the broker kept from before says nothing about this command
        subscriptions=(Subscription(states, retained=False),) if states else (),
    )
    return MqttActuator(config, context.clock, open_session(settings, _OPEN_S))


class MqttActuator:
    """ports.Actuator over one session."""

    def __init__(self, config: Config, clock: Clock, session: Session) -> None:
        self._config = config
        self._clock = clock
        self._session = session

    def apply(self, action: Act, timeout_s: float) -> Receipt:
        if not _TARGET.fullmatch(action.target):
            raise Rejected(f"{action.target!a:.80} cannot stand in a topic", hint="use letters, digits, _ and -")
        self._forget_old_news()
        wait = _Wait(self._config, action, self._publish(action))
        end = monotonic() + timeout_s
        while not wait.done:
            left = end - monotonic()
            if left <= 0:
                raise wait.timed_out(timeout_s)
            for event in self._session.poll(left):
                wait.take(event)
        return Receipt(action.id, action.actuator, True, self._clock.now(), read_back=wait.state)

    def close(self) -> None:
        self._session.close()

    def _forget_old_news(self) -> None:
        """What a device told before its command is no answer. Raises Retryable where the connection has ended."""
        while events := self._session.poll(0.0):
            for event in events:
                if isinstance(event, Lost):
                    raise Retryable(event.reason, hint=event.hint)

    def _publish(self, action: Act) -> int:
        body = _filled(self._config.payload, action)
        topic = self._config.topic.replace("{target}", action.target)
        return self._session.publish(Publication(topic, body.encode(), retain=self._config.retain))


class _Wait:
    """What has to happen before one action is done."""

    def __init__(self, config: Config, action: Act, mid: int) -> None:
        self._action = action
        self._mid = mid
        self._confirmed = False
        self._topic = config.state_topic.replace("{target}", action.target)
        self._key = config.state_key
        self._told: object = None
        self.state: Value | None = None

    @property
    def done(self) -> bool:
        return self._confirmed and (not self._topic or self.state is not None)

    def take(self, event: LinkEvent) -> None:
        """Raises Retryable where the connection is gone or nobody listens, Rejected where the broker refuses."""
        match event:
            case Lost(reason, hint):
                raise Retryable(reason, hint=hint)
            case SubscriptionRefused(topic, code):
                raise Rejected(f"the broker refuses {topic}: {publish_code(code)}", hint="check the broker's ACL")
            case Confirmed(mid, code) if mid == self._mid:
                self._confirm(code)
            case Message(topic, body, False) if topic == self._topic:
                self._hear(body)

    def timed_out(self, timeout_s: float) -> Retryable:
        if not self._confirmed:
            return Retryable(f"the broker has not confirmed within {timeout_s:.2g} s", hint="see the broker's log")
        told = "nothing" if self._told is None else ascii(self._told)[:80]
        return Retryable(
            f"{self._topic} tells {told}, not {self._action.value!a:.80}, within {timeout_s:.2g} s",
            hint="is the device powered and in reach?",
        )

    def _confirm(self, code: int) -> None:
        if code == _NO_SUBSCRIBER:
            raise Retryable("nobody has subscribed to this command", hint="is the device's bridge running?")
        if code >= 0x80:
            raise Rejected(f"the broker refuses the command: {publish_code(code)}", hint="check the broker's ACL")
        self._confirmed = True

    def _hear(self, body: bytes) -> None:
        self._told = _state(body, self._key)
        if same(self._told, self._action.value):
            self.state = self._action.value


def _filled(template: str, action: Act) -> str:
    value = msgspec.json.encode(action.value).decode()
    text = action.value if isinstance(action.value, str) else value
    fill = {"{value}": value, "{text}": text, "{target}": action.target}
    return re.sub(r"\{(?:value|text|target)\}", lambda match: fill[match[0]], template)


def _state(body: bytes, key: str) -> Any:
    """The value a device tells; plain text where it is no JSON."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = body.decode("utf-8", "replace")
    if not key:
        return document
    return document.get(key) if isinstance(document, dict) else None
