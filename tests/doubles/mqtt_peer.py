"""Another client on the same broker: what a backend or an operator sees and sends."""

import threading
import time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions


class MqttPeer:
    """Collects messages as (topic, payload, retained, properties)."""

    def __init__(self, port, *filters, client_id="peer", username=None, password=None, version=5, tls=None):
        v5 = version == 5
        self.messages = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        )  # fmt: skip
        if username:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        wanted = [(f, SubscribeOptions(qos=1, retainAsPublished=True) if v5 else 1) for f in filters or ("none",)]
        self._client.on_connect = lambda c, *_: c.subscribe(wanted)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def publish(self, topic, payload, *, retain=False, qos=1, properties=None):
        self._client.publish(topic, payload, qos, retain, properties).wait_for_publish(10)

    def wait_for(self, found, timeout_s=10):
        """Waits until `found(messages)` is true, and returns what it returned."""
        end = time.monotonic() + timeout_s
        with self._news:
            while not (result := found(list(self.messages))):
                left = end - time.monotonic()
                assert left > 0, f"only {len(self.messages)} messages: {[m[:2] for m in self.messages[-3:]]}"
                self._news.wait(left)
        return result

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, _client, _userdata, message):
        with self._news:
            self.messages.append((message.topic, message.payload, message.retain, message.properties))
            self._news.notify_all()
