"""The `mqtt` source against a real broker: what others publish becomes readings, and losing it is said."""

import time

import msgspec
import pytest
from doubles.context import DriverContext
from doubles.mosquitto import Authority, Mosquitto, free_port, password_file
from doubles.mqtt_peer import MqttPeer

from edge_agent.errors import Retryable
from edge_agent.sources import mqtt
from edge_agent.types import Quality

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
TOPICS = [
    {"filter": "zigbee2mqtt/+", "stream_level": 2, "fields": {"temp": "temperature"}},
    {"filter": "plc/line1", "stream": "press", "fields": {"level": ""}},
]


class Plant:
    def __init__(self, port, **keys):
        config = msgspec.convert({"host": "127.0.0.1", "port": port, "topics": TOPICS, **keys}, mqtt.Config)
        self.context = DriverContext("hall")
        self.source = mqtt.open(config, self.context)
        self.counters = self.context.counters
        self.early = []

    def readings(self, count, timeout_s=10):
        out, self.early = self.early, []
        end = time.monotonic() + timeout_s
        while len(out) < count:
            assert time.monotonic() < end, (out, self.counters.to_dict(0))
            out += self.source.read(0.1)
        return out

    def settle(self):
        """Until the subscription is in force."""
        while self.source._session._asked or self.source._session.state != "up":
            self.early += self.source.read(0.05)

    def failure(self, timeout_s=12):
        with pytest.raises(Retryable) as e:
            self.readings(10**6, timeout_s)
        return str(e.value)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.source.close()


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path) as broker:
        yield broker


@VERSIONS
def test_messages_become_readings_in_their_order(broker, version):
    with MqttPeer(broker.port) as peer, Plant(broker.port, version=version) as plant:
        plant.settle()
        for n in range(50):
            peer.publish("zigbee2mqtt/kitchen", b'{"temperature":%d}' % n)
            peer.publish("plc/line1", b"%d" % n)
        readings = plant.readings(100)
    assert [r.values["temp"] for r in readings if r.stream == "kitchen"] == list(range(50))
    assert [r.values["level"] for r in readings if r.stream == "press"] == list(range(50))
    stamps = [r.stamp.mono_ns for r in readings]
    assert stamps == sorted(stamps)


def test_a_bad_payload_costs_itself_alone(broker):
    with MqttPeer(broker.port) as peer, Plant(broker.port) as plant:
        plant.settle()
        bad = [b"", b"{", b'{"temperature":9223372036854775808}', b"[" * 60_000, b"\xff" * 100, b'{"humidity":1}']
        for body in bad:
            peer.publish("zigbee2mqtt/kitchen", body)
        peer.publish("zigbee2mqtt/../x", b'{"temperature":1}')
        peer.publish("zigbee2mqtt/kitchen", b'{"temperature":20.5}')
        (reading,) = plant.readings(1)
    assert reading.values == {"temp": 20.5}
    counts = plant.counters.to_dict(0)["counts"]
    assert counts == {"malformed": 5, "no_value": 1}
    assert len(plant.counters.to_dict(0)["quarantine"]) == 6


@VERSIONS
def test_a_large_payload_is_dropped_unread(broker, version):
    with MqttPeer(broker.port) as peer, Plant(broker.port, version=version, max_payload=1000) as plant:
        plant.settle()
        peer.publish("plc/line1", b" " * 100_000 + b"7")
        peer.publish("plc/line1", b"8")
        assert plant.readings(1)[0].values == {"level": 8}


@pytest.mark.parametrize(
    ("retained", "expected"), [("flag", {"level": Quality.UNCERTAIN}), ("accept", None), ("ignore", "nothing")]
)
@VERSIONS
def test_values_from_before_are_flagged_taken_or_left_out(broker, retained, expected, version):
    with MqttPeer(broker.port) as peer:
        peer.publish("plc/line1", b"7", retain=True)
        with Plant(broker.port, retained=retained, version=version) as plant:
            plant.settle()
            peer.publish("plc/line1", b"8")
            readings = plant.readings(1 if expected == "nothing" else 2)
    assert readings[-1].values == {"level": 8}
    assert readings[-1].quality is None
    if expected == "nothing":
        assert len(readings) == 1
    else:
        assert (readings[0].values, readings[0].quality) == ({"level": 7}, expected)


def test_what_was_published_while_the_agent_was_away_is_not_stamped_as_new(broker):
    with Plant(broker.port) as plant:
        plant.settle()
    with MqttPeer(broker.port) as peer:
        peer.publish("plc/line1", b"7")
        with Plant(broker.port) as plant:
            plant.settle()
            peer.publish("plc/line1", b"8")
            assert plant.readings(1)[0].values == {"level": 8}


def test_a_killed_broker_is_retryable_and_what_came_before_is_kept(broker):
    with MqttPeer(broker.port) as peer, Plant(broker.port) as plant:
        plant.settle()
        peer.publish("plc/line1", b"7")
        time.sleep(0.2)
        broker.kill()
        assert plant.readings(1)[0].values == {"level": 7}
        assert f"127.0.0.1:{broker.port}" in plant.failure()
        with pytest.raises(Retryable):
            plant.source.read(0.1)


def test_nobody_there_is_said_at_once():
    with Plant(free_port()) as plant:
        assert "nothing listens" in plant.failure(2)


def test_a_wrong_password_is_named(tmp_path):
    users = password_file(tmp_path, plc="right")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("wrong")
    broker = Mosquitto(tmp_path, f"password_file {users}", anonymous=False)
    with broker, Plant(broker.port, username="plc", password_file=str(tmp_path / "secret")) as plant:
        assert "password_file" in plant.failure()


def test_over_tls_with_a_client_certificate(tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("localhost")
    own_cert, own_key = authority.issue("gw1")
    lines = (f"cafile {authority.ca}", f"certfile {cert}", f"keyfile {key}", "require_certificate true")
    tls = {"ca": str(authority.ca), "cert": str(own_cert), "key": str(own_key)}
    with Mosquitto(tmp_path, *lines) as broker, Plant(broker.port, host="localhost", tls=tls) as plant:
        plant.settle()
        burst = 300  # TLS holds decrypted bytes that the kernel does not know of
        with Plant(broker.port, host="localhost", tls=tls, client_id="talker") as other:
            other.settle()
            for n in range(burst):
                while other.source._session.in_flight >= other.source._session.window:
                    other.source.read(0.1)
                other.source._session.publish(publication(n))
            readings = plant.readings(burst)
    assert [r.values["level"] for r in readings] == list(range(burst))


def publication(n):
    from edge_agent.links.mqtt_types import Publication

    return Publication("plc/line1", b"%d" % n)


def test_row_45_a_flood_is_read_in_bounded_pieces(broker):
    with MqttPeer(broker.port) as peer, Plant(broker.port, qos=0) as plant:
        plant.settle()
        for n in range(3000):
            peer._client.publish("plc/line1", b"%d" % n)
        time.sleep(0.5)
        most = 0
        got = 0
        while got < 3000:
            pieces = plant.source.read(1.0)
            assert pieces, f"only {got} came"
            most, got = max(most, len(pieces)), got + len(pieces)
        assert 1 < most <= 64
