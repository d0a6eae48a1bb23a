"""The demo's backend: subscribes to what gateways send, tallies it, and acknowledges ranges on `down/ack`.

Memory only: it proves what arrived, it is not a store. A backend that keeps data acknowledges after its commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec
from backend_tally import BackendTally, Stream, Verdict
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.contract import messages, topics

ACK_EVERY_S = 0.2
_RETRY_S = 0.5
_TURN_S = 0.05


class DemoBackend:
    """Runs in a thread of its own from `start` to `stop`; survives the broker's absence."""

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", version: str = "5", client_id: str = "backend",
        on_row: Callable[[messages.RowMessage], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`on_row` sees every acceptable row, also one that came before, on the backend's thread."""
        self._on_row = on_row
        self.acks_sent = 0
        self.messages = 0
        self._address = (host, port)
        self._v5 = version == "5"
        self._tally = BackendTally()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.subscribed = threading.Event()
        self._where: dict[str, topics.Gateway] = {}
        self._client = self._make_client(client_id)
        self._thread = threading.Thread(target=self._run, name="demo-backend", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def verdict(self, committed: Mapping[Stream, int] | None = None) -> Verdict:
        """Any thread: received, duplicates, gaps and lost so far; `committed` as BackendTally.verdict says."""
        with self._lock:
            return self._tally.verdict(committed)

    def received(self, stream: str) -> int:
        """Any thread: how many numbers of this stream are held, of all gateways and epochs."""
        with self._lock:
            return sum(len(ranges) for (_, _, name), ranges in self._tally.received.items() if name == stream)

    def received_in(self, epoch: str) -> int:
        """Any thread: how many numbers of this epoch are held, of all streams but the ledger."""
        with self._lock:
            held = self._tally.received.items()
            return sum(len(ranges) for (_, of, name), ranges in held if of == epoch and name != "ledger")

    def closed_epochs(self) -> set[str]:
        """Any thread: the epochs of which it knows where every stream ended."""
        with self._lock:
            return {epoch for _, epoch, _ in self._tally.closed}

    def online(self, gateway: str) -> bool | None:
        """What its birth or will said last."""
        return self._tally.online.get(gateway)

    def _make_client(self, client_id: str) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._v5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if self._v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.on_connect = lambda c, *_: c.subscribe(f"edge/{topics.VERSION}/+/+/+/{topics.UP}/#", qos=1)
        client.on_subscribe = lambda *_: self.subscribed.set()
        client.on_message = self._on_message
        return client

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
                self._serve()
            except OSError:
                self.subscribed.clear()
                self._stop.wait(_RETRY_S)
        self._client.disconnect()

    def _connect(self) -> None:
        host, port = self._address
        if not self._v5:
            self._client.connect(host, port, 30)
            return
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect(host, port, 30, clean_start=False, properties=properties)

    def _serve(self) -> None:
        """Raises ConnectionError when the broker is gone."""
        next_ack = time.monotonic() + ACK_EVERY_S
        while not self._stop.is_set():
            if self._client.loop(_TURN_S):
                raise ConnectionError
            if self._client.is_connected() and time.monotonic() >= next_ack:
                self._acknowledge()
                next_ack = time.monotonic() + ACK_EVERY_S

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        where = topics.parse_topic(message.topic)
        if where is None:
            return
        self.messages += 1
        self._where[where.gateway] = topics.Gateway(where.tenant, where.site, where.gateway)
        with self._lock:
            row = self._tally.take(message.topic, bytes(message.payload))
        if row is not None:
            self._on_row(row)

    def _acknowledge(self) -> None:
        with self._lock:
            acks = list(self._tally.acks())
        for gw, ack in acks:
            self._client.publish(self._where[gw].down(topics.ACK), msgspec.json.encode(ack), qos=1)
            self.acks_sent += 1
