"""A real broker with a listener, or with a device that never tells its state."""

from contextlib import contextmanager

from doubles.mosquitto import Mosquitto, free_port
from doubles.mqtt_peer import MqttPeer


def missing(folder):
    return {"host": "127.0.0.1", "port": free_port(), "topic": "plug/{target}"}


@contextmanager
def working(folder):
    with Mosquitto(folder) as broker, MqttPeer(broker.port, "plug/#"):
        yield {"host": "127.0.0.1", "port": broker.port, "topic": "plug/{target}"}


@contextmanager
def mute(folder):
    with Mosquitto(folder) as broker, MqttPeer(broker.port, "plug/#"):
        keys = {"topic": "plug/{target}/set", "state_topic": "plug/{target}"}
        yield {"host": "127.0.0.1", "port": broker.port, **keys}
