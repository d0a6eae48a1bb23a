"""A real broker with a device that publishes."""

import threading
from contextlib import contextmanager

from doubles.mosquitto import Mosquitto, free_port
from doubles.mqtt_peer import MqttPeer

_TOPICS = [{"filter": "hall/+", "stream_level": 2, "fields": {"temp": "temperature"}}]
_broker = None


def missing(folder):
    return {"host": "127.0.0.1", "port": free_port(), "topics": _TOPICS}


@contextmanager
def working(folder):
    global _broker
    stop = threading.Event()
    with Mosquitto(folder) as _broker, MqttPeer(_broker.port) as peer:

        def talk():
            while not stop.wait(0.05):
                peer._client.publish("hall/kitchen", b'{"temperature":20.5}')

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            yield {"host": "127.0.0.1", "port": _broker.port, "topics": _TOPICS}
        finally:
            stop.set()
            talker.join(5.0)


def lose():
    _broker.kill()
