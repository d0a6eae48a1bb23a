"""One MQTT connection: from resolving the name to the end, driven by one thread through `poll`.

The library's client is driven without its threads, which is faster and leaves one owner of all state; only
resolving, connecting and the TLS handshake run in a thread of their own, since they may hang longer than a `poll`
may take. A session is not connected twice: whoever wants to come back makes a new one, so nothing of an old
connection (queued messages, packet ids) reaches a new one. The outbox is the only queue.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.config.secrets import read_secret
from edge_agent.errors import Rejected, Retryable
from edge_agent.links import mqtt_reasons as reasons
from edge_agent.links import wire
from edge_agent.links.mqtt_properties import pack, variable_length
from edge_agent.links.mqtt_types import (
    Confirmed,
    Connected,
    Dropped,
    LinkEvent,
    Lost,
    Message,
    Publication,
    Settings,
    SubscriptionRefused,
)
from edge_agent.links.tls import RecordingSocket, client_context
from edge_agent.links.waker import Waker

CONNACK_S = 10.0
"""A broker that took the connection must accept the client within this time."""
USER_TIMEOUT_MS = 3000
"""Data that the peer's TCP does not acknowledge for so long ends the connection (half-open links)."""
STALL_S = 60.0
"""Publications are owed an answer and none has come for so long: the broker hangs."""
MOST_PACKET_BYTES = 268_435_455
_TICK_S = 1.0
_PACKETS = 64
MOST_INCOMING_BYTES = 8 * 1024 * 1024
"""Of a packet on its way in: MQTT 3.1.1 has no way to tell the broker, and the library takes what comes."""
_RECEIVE_BYTES = 65_536
"""The library reads up to a hundred times what the kernel holds before anybody can look at it."""
_HEADERS = 8192
"""Bytes of a packet beside its body: topic and properties."""


class Session:
    """Dials at once. `poll` gives `Connected` once, then what happens, and `Lost` as the last event.

    All methods but `wake` belong to one thread. `window`, `in_flight` and `state` may be read at any time.
    """

    def __init__(
        self, settings: Settings, *, waker: Waker | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.where = f"{settings.host}:{settings.port}"
        self.state = "dialing"
        """`dialing`, `greeting` (CONNECT is sent), `up` or `ended`."""
        self.window = settings.window
        self.subscribed = False
        """The broker has answered for every subscription, be it with a refusal."""
        self._v5 = settings.version == "5"
        self._max_packet_bytes = MOST_PACKET_BYTES
        self._waker = waker or Waker()
        self._own_waker = waker is None
        self._monotonic = monotonic
        self._events: list[LinkEvent] = []
        self._owed: dict[int, float] = {}
        self._last_answer_s = self._since_s = monotonic()
        self._asked: dict[int, list[str]] = {}
        self._socket: Any = None
        self._wire_bytes = 0
        self._dial_error: Lost | None = None
        self._client = self._make_client()
        self._handover = Lock()
        self._dialed = False
        Thread(target=self._dial, name="mqtt-dial", daemon=True).start()

    @property
    def in_flight(self) -> int:
        return len(self._owed)

    def publish(self, publication: Publication) -> int:
        """Hands a QoS 1 message to the socket without waiting; returns the id that `Confirmed` will name.

        Raises Retryable unless it is up and `in_flight` below `window`, Rejected beyond the broker's size limit.
        """
        if self.state != "up":
            raise Retryable(f"there is no connection to {self.where}")
        if len(self._owed) >= self.window:
            raise Retryable(f"{self.where} owes {len(self._owed)} confirmations", hint="see the broker's log")
        properties = pack(publication) if self._v5 else None
        self._check_size(publication, len(properties.pack()) if properties else 0)
        info = self._client.publish(
            publication.topic, publication.body, qos=1, retain=publication.retain, properties=properties
        )
        self._owed[info.mid] = self._monotonic()
        return info.mid

    def acknowledge(self, mid: int) -> None:
        """What that message said is safe; where `owed` is set, the broker keeps it until then."""
        if self.state == "up":
            self._client.ack(mid, 1)

    def poll(self, timeout_s: float) -> list[LinkEvent]:
        """What happened; waits at most `timeout_s`, less when something comes or somebody calls `wake`."""
        if self.state != "ended" and not self._events:
            self._wait(timeout_s)
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        self._waker.wake()

    def wire_bytes(self) -> int:
        """What this connection has cost so far, both ways, TCP and IP headers included; also after its end."""
        if self._socket is not None:
            self._wire_bytes = wire.bytes_of(self._socket) or self._wire_bytes
        return self._wire_bytes

    def link(self) -> str:
        """The interface that it leaves by; empty where that is not known."""
        return wire.interface_of(self._socket) if self._socket is not None else ""

    def close(self) -> None:
        """DISCONNECT where connected, so that the broker discards the will; publications owed are forgotten."""
        with self._handover:
            polite = self.state in ("greeting", "up")
            self.state = "ended"
            if polite:
                self._client.disconnect()
            if self._dialed:
                self._drop_socket()
        if self._own_waker:
            self._waker.close()

    # dialing

    def _make_client(self) -> Client:
        s = self.settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=s.client_id,
            clean_session=None if self._v5 else s.session_expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if self._v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=s.owed > 0,
        )
        client.max_inflight_messages = 0  # the window is kept here: the library does not read the broker's
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if s.will is not None:
            told = pack(s.will) if self._v5 else None
            client.will_set(s.will.topic, s.will.body, qos=1, retain=s.will.retain, properties=told)
        return client

    def _dial(self) -> None:
        try:
            self._connect()
        except Retryable as e:
            self._dial_error = Lost(e.message, e.hint, busy=True)
        except OSError as e:
            self._dial_error = reasons.failed(self.where, e)
        except ValueError:
            self._dial_error = Lost(f"{self.where} is not a host name", "check host", busy=True)
        with self._handover:
            self._dialed = True
            if self.state == "ended":
                self._drop_socket()  # closed meanwhile
        self._waker.wake()

    def _connect(self) -> None:
        s = self.settings
        if s.username is not None:
            password = read_secret(s.password_file).reveal() if s.password_file else None
            self._client.username_pw_set(s.username, password)
        if s.tls is not None:
            self._client.tls_set_context(client_context(s.tls))
        keepalive_s = s.keepalive_s * 3 // 4  # the library waits as long again for the answer to its ping
        if not self._v5:
            self._client.connect(s.host, s.port, keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = s.session_expiry_s
        properties.MaximumPacketSize = s.max_body_bytes + _HEADERS
        if s.owed:
            properties.ReceiveMaximum = s.owed
        clean = s.session_expiry_s == 0
        self._client.connect(s.host, s.port, keepalive_s, clean_start=clean, properties=properties)

    def _on_socket_open(self, _client: Client, _userdata: object, sock: Any) -> None:
        self._socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    def _on_socket_close(self, _client: Client, _userdata: object, sock: Any) -> None:
        if isinstance(sock, RecordingSocket) and sock.last_error is None:
            with contextlib.suppress(OSError):
                sock.recv(1)  # after a failed send: the alert that says why

    # turning

    def _wait(self, timeout_s: float) -> None:
        sock = None if self.state == "dialing" else self._client.socket()
        poller = select.poll()
        poller.register(self._waker.fd, select.POLLIN)
        if sock is not None:
            poller.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
            if _pending(sock):
                timeout_s = 0.0
        ready = dict(poller.poll(min(timeout_s, _TICK_S) * 1000))
        if self._waker.fd in ready:
            self._waker.clear()
        if self.state == "dialing":
            self._greet()
        elif sock is None:
            self._lose(self._closed_early())
        else:
            self._turn(sock, ready.get(sock.fileno(), 0))
        if self.state == "ended":
            self._drop_socket()

    def _greet(self) -> None:
        if not self._dialed:
            return
        if self._dial_error is not None:
            self._lose(self._dial_error)
            return
        self.state = "greeting"
        self._since_s = self._monotonic()

    def _turn(self, sock: Any, ready: int) -> None:
        if ready & (select.POLLERR | select.POLLHUP):
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._lose(self._broke(code))
                return
        if ready & select.POLLIN and self.state == "greeting" and not self._greeted(sock):
            return
        if ready & select.POLLOUT:
            self._client.loop_write()
        if ready & select.POLLIN or _pending(sock):
            self._read(sock)
        if self.state != "ended":
            self._client.loop_misc()
            self._watch()

    def _broke(self, code: int) -> Lost:
        if code == errno.ECONNRESET and self.state == "greeting" and self.settings.tls is not None:
            return self._closed_early()  # the alert that said why went down with the connection
        return reasons.failed(self.where, OSError(code, ""), worked=self.state == "up")

    def _read(self, sock: Any) -> None:
        """What is there, in one go: the library takes one message a call from a client that only listens."""
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        for _ in range(_PACKETS):
            self._client.loop_read()
            self._bound_incoming()
            if self.state == "ended" or not (_pending(sock) or poller.poll(0)):
                return

    def _bound_incoming(self) -> None:
        # nothing public tells the length before the whole packet is in memory
        size = self._client._in_packet["remaining_length"]
        if size > MOST_INCOMING_BYTES:
            hint = "who publishes that? lower the broker's message_size_limit, or use MQTT 5"
            self._lose(Lost(f"{self.where} sends a message of {size} bytes", hint, busy=True))

    def _greeted(self, sock: Any) -> bool:
        """Looks at the first byte before the library does: it would take a web page for packets."""
        if isinstance(sock, ssl.SSLSocket):
            return True  # a certificate has said who this is
        try:
            first = sock.recv(8, socket.MSG_PEEK)
        except OSError:
            return True  # the library meets the same error and reports it
        if not first or first[0] == 0x20:
            return True
        self._lose(reasons.not_a_broker(self.where, first))
        return False

    def _watch(self) -> None:
        now = self._monotonic()
        if self.state == "greeting" and now - self._since_s > CONNACK_S:
            self._lose(Lost(f"{self.where} takes the connection but says nothing", "is it a broker? see its log"))
        elif self.state == "up" and self._owed:
            oldest = next(iter(self._owed.values()))
            patience = max(STALL_S, 2.0 * self.settings.keepalive_s)
            if now - max(oldest, self._last_answer_s) > patience:
                reason = f"the broker at {self.where} has confirmed nothing for {patience:.0f} s"
                self._lose(Lost(reason, "see the broker's log and its disk"))

    def _lose(self, lost: Lost) -> None:
        """The first reason counts; what follows from closing says less."""
        if self.state == "ended":
            return
        self._events.append(lost)
        self.state = "ended"

    def _drop_socket(self) -> None:
        """Without DISCONNECT, unless it was sent before: the broker shall publish the will."""
        if self._socket is not None:
            self.wire_bytes()
            self._socket.close()
            self._socket = None

    # what the library calls

    def _on_connect(self, _c: Client, _u: object, flags: Any, reason: Any, properties: Any) -> None:
        if reason.value >= 0x80:
            self._lose(reasons.refused(self.where, reason.value))
            return
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._lose(Lost(f"the broker at {self.where} offers QoS 0 only", "allow QoS 1 there", busy=True))
            return
        self.state = "up"
        self.window = min(self.settings.window, getattr(properties, "ReceiveMaximum", 65535))
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", MOST_PACKET_BYTES)
        self._last_answer_s = self._monotonic()
        self._subscribe()
        self._events.append(Connected(self.window, flags.session_present, self._max_packet_bytes))

    def _subscribe(self) -> None:
        wanted = self.settings.subscriptions
        if not wanted:
            return
        filters: list[Any] = [(s.topic, s.qos) for s in wanted]
        if self._v5:
            filters = [(s.topic, SubscribeOptions(s.qos, retainHandling=0 if s.retained else 2)) for s in wanted]
        _, mid = self._client.subscribe(filters)
        if mid is not None:
            self._asked[mid] = [s.topic for s in wanted]

    def _on_subscribe(self, _c: Client, _u: object, mid: int, codes: Any, _p: object) -> None:
        for topic, code in zip(self._asked.pop(mid, []), codes, strict=False):
            if code.value >= 0x80:
                self._events.append(SubscriptionRefused(topic, code.value))
        self.subscribed = not self._asked

    def _on_publish(self, _c: Client, _u: object, mid: int, reason: Any, _p: object) -> None:
        self._owed.pop(mid, None)
        self._last_answer_s = self._monotonic()
        self._events.append(Confirmed(mid, reason.value))

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        body = bytes(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if not topic:  # also an alias, of which CONNECT allows none
            self._drop("bad_topic", body, message)
            return
        if len(body) > self.settings.max_body_bytes:
            self._drop("too_large", body, message)
            return
        told = message.properties if self._v5 else None
        self._events.append(
            Message(
                topic,
                body,
                message.retain,
                getattr(told, "ContentType", ""),
                message.mid,
                getattr(told, "ResponseTopic", ""),
                getattr(told, "CorrelationData", b""),
            )
        )

    def _drop(self, reason: str, body: bytes, message: MQTTMessage) -> None:
        self._events.append(Dropped(reason, body[:200]))
        if self.settings.owed and message.qos:
            self._client.ack(message.mid, message.qos)

    def _on_disconnect(self, _c: Client, _u: object, flags: Any, reason: Any, _p: object) -> None:
        if flags.is_disconnect_packet_from_server and reason.value >= 0x80:
            self._lose(reasons.refused(self.where, reason.value))
        elif isinstance(self._socket, RecordingSocket) and self._socket.last_error is not None:
            self._lose(reasons.failed(self.where, self._socket.last_error))
        elif self.state != "up":
            self._lose(self._closed_early())
        elif reason.value == 0x8D:
            self._lose(Lost(f"{self.where} is silent: no answer within the keepalive", "is the network up?"))
        else:
            hint = f'see the broker\'s log; does another client use the id "{self.settings.client_id}"?'
            self._lose(Lost(f"{self.where} closed the connection", hint))

    def _closed_early(self) -> Lost:
        tls = self.settings.tls
        certificate = tls is not None and tls.cert is not None
        return reasons.closed_early(self.where, self.settings.version, tls=tls is not None, certificate=certificate)

    def _check_size(self, publication: Publication, properties_bytes: int) -> None:
        rest = 4 + len(publication.topic.encode()) + properties_bytes + len(publication.body)
        size = 1 + len(variable_length(rest)) + rest
        if size > self._max_packet_bytes:
            hint = "lower store.row_limit, or raise the broker's packet size limit"
            raise Rejected(f"{size} bytes, and the broker takes {self._max_packet_bytes}", hint=hint)


def _pending(sock: Any) -> bool:
    """Whether TLS has decrypted bytes that the kernel does not know of."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def open_session(settings: Settings, timeout_s: float) -> Session:
    """A session that is up, for a driver. Raises Retryable with the cause when it is not within `timeout_s`."""
    session = Session(settings)
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        for event in session.poll(left):
            if isinstance(event, Lost):
                session.close()
                raise Retryable(event.reason, hint=event.hint)
            if isinstance(event, Connected):
                return session
    session.close()
    raise Retryable(f"{session.where} does not answer within {timeout_s:g} s", hint="is the network up?")
