"""The uplink against a real mosquitto: sessions, refusals, limits, birth and will."""

import json
import time
import zlib

import pytest
from doubles.mosquitto import Authority, Mosquitto, free_port, password_file
from doubles.mqtt_peer import MqttPeer
from doubles.outbox import EPOCH
from doubles.tcp_proxy import TcpProxy
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from running import GATEWAY, running, tele_body

from edge_agent.config.site import TlsConfig
from edge_agent.uplink.drain import Policy

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
STATE = GATEWAY.up("state")
TELE = GATEWAY.up("tele", "all")


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path) as broker:
        yield broker


def rows_seen(messages):
    return [json.loads(zlib.decompress(m[1])) for m in messages if m[0] == TELE]


@VERSIONS
def test_rows_arrive_as_they_were_committed(mosquitto, version):
    with MqttPeer(mosquitto.port, "edge/#") as peer, running(mosquitto.port, version=version) as agent:
        agent.commit(30, n=5)
        agent.delivered(30)
        rows = peer.wait_for(lambda m: len(rows_seen(m)) >= 30 and rows_seen(m))
    assert sorted(row["seg"][0]["seq0"] for row in rows) == list(range(0, 150, 5))  # live ones overtake
    assert not any(m[2] for m in peer.messages if m[0] == TELE), "a row is never retained"


def test_routers_need_not_parse_the_body(mosquitto):
    with MqttPeer(mosquitto.port, "edge/#") as peer, running(mosquitto.port) as agent:
        agent.commit(2, n=5)
        tele = peer.wait_for(lambda m: [x for x in m if x[0] == TELE][1:])[0]
    properties = tele[3]
    assert properties.ContentType == "application/json+deflate"
    assert dict(properties.UserProperty) == {"schema": "tele/1", "epoch": EPOCH, "seq0": "5"}
    assert not hasattr(properties, "MessageExpiryInterval"), "a row that must not be lost does not expire"


@VERSIONS
def test_birth_is_retained_and_a_clean_stop_says_so(mosquitto, version):
    with running(mosquitto.port, version=version) as agent:
        agent.connected()
        with MqttPeer(mosquitto.port, STATE) as peer:
            birth = json.loads(peer.wait_for(lambda m: m)[0][1])
            assert peer.messages[0][2], "retained"
    assert birth == {
        "schema": "state/1", "gw": "gw1", "online": True, "epoch": EPOCH, "start_no": 7, "caps": ["deflate", "ack"],
    }  # fmt: skip
    with MqttPeer(mosquitto.port, STATE) as peer:
        death = json.loads(peer.wait_for(lambda m: m)[0][1])
    assert death == {"schema": "state/1", "gw": "gw1", "online": False, "epoch": EPOCH, "reason": "stopped"}


@VERSIONS
def test_the_will_says_lost_with_its_epoch_and_stays(mosquitto, version):
    with MqttPeer(mosquitto.port, STATE) as peer, running(mosquitto.port, version=version) as agent:
        agent.connected()
        peer.wait_for(lambda m: any(b"true" in x[1] for x in m))
        agent.transport._session._socket.shutdown(2)  # as when the process is killed
        will = peer.wait_for(lambda m: [x for x in m if b"lost" in x[1]])[0]
        assert json.loads(will[1]) == {
            "schema": "state/1", "gw": "gw1", "online": False, "epoch": EPOCH, "reason": "lost",
        }  # fmt: skip
        assert will[2], "retained"
        peer.wait_for(lambda m: b"true" in m[-1][1])  # and it is born again


def test_birth_goodbye_and_will_tell_routers_what_they_are(mosquitto):
    with MqttPeer(mosquitto.port, STATE) as peer:
        with running(mosquitto.port) as agent:
            agent.connected()
            peer.wait_for(lambda m: m)
            agent.transport._session._socket.shutdown(2)
            peer.wait_for(lambda m: [x for x in m if b"lost" in x[1]])
            peer.wait_for(lambda m: b"true" in m[-1][1])
        said = peer.wait_for(lambda m: [x for x in m if b"stopped" in x[1]] and m)
    assert len(said) == 4
    for _, body, _, properties in said:
        assert properties.ContentType == "application/json", body
        assert dict(properties.UserProperty) == {"schema": "state/1", "epoch": EPOCH}, body
        assert not hasattr(properties, "MessageExpiryInterval"), body


def test_latest_documents_are_retained_and_come_again_after_a_reconnect(mosquitto, tmp_path):
    with running(mosquitto.port) as agent:
        agent.body.publish_latest("health", b'{"a":1}')
        agent.body.publish_latest("health", b'{"a":2}')
        agent.connected()
        with MqttPeer(mosquitto.port, GATEWAY.up("health")) as peer:
            seen = peer.wait_for(lambda m: m)[0]
            assert seen[1:3] == (b'{"a":2}', True)
            assert 0 < seen[3].MessageExpiryInterval <= 60, "twice its period"
            assert seen[3].ContentType == "application/json"
        mosquitto.kill()  # it keeps nothing
        agent.down_reason()
        mosquitto.start()
        with MqttPeer(mosquitto.port, GATEWAY.up("health")) as peer:
            assert peer.wait_for(lambda m: m)[0][1] == b'{"a":2}'


@VERSIONS
def test_what_the_backend_said_while_the_agent_was_away_arrives_with_the_session(mosquitto, version):
    with running(mosquitto.port, version=version) as agent:
        agent.connected()
        agent.wait_until(lambda: "SUBACK" in mosquitto.log())
    with MqttPeer(mosquitto.port) as backend:
        backend.publish(GATEWAY.down("cmd", "reset"), b"later")
    with running(mosquitto.port, version=version) as agent:
        agent.wait_until(lambda: agent.inbound)
    assert [(m.topic, m.body, m.retained) for m in agent.inbound] == [(GATEWAY.down("cmd", "reset"), b"later", False)]


def test_desired_state_may_be_retained_but_a_retained_command_is_not_even_sent(mosquitto):
    with MqttPeer(mosquitto.port) as backend:
        backend.publish(GATEWAY.down("cmd", "open"), b"old order", retain=True)
        backend.publish(GATEWAY.down("desired"), b"{}", retain=True)
    with running(mosquitto.port) as agent:
        agent.wait_until(lambda: agent.inbound)
        with MqttPeer(mosquitto.port) as backend:
            backend.publish(GATEWAY.down("cmd", "close"), b"new order")
        agent.wait_until(lambda: len(agent.inbound) == 2)
    assert [(m.body, m.retained) for m in agent.inbound] == [(b"{}", True), (b"new order", False)]


def test_a_retained_command_on_3_1_1_is_flagged(mosquitto):
    with MqttPeer(mosquitto.port) as backend:
        backend.publish(GATEWAY.down("cmd", "open"), b"old order", retain=True)
    with running(mosquitto.port, version="3.1.1") as agent:
        agent.wait_until(lambda: agent.inbound)
    assert agent.inbound[0].retained


def test_the_brokers_receive_maximum_bounds_what_is_in_flight(tmp_path):
    with Mosquitto(tmp_path, "max_inflight_messages 3") as broker, running(broker.port, window=100) as agent:
        sessions = []
        agent.commit(400)
        most = 0
        while len(agent.outbox.done) < 400:
            session = agent.transport._session
            if session is not None:
                sessions.append(session.window)
                most = max(most, session.in_flight)
        assert set(sessions) <= {3, 100}
        assert sessions[-1] == 3
        assert most <= 3


def test_an_oversize_row_is_a_dead_letter_while_the_others_flow(tmp_path):
    with Mosquitto(tmp_path, "max_packet_size 2000") as broker, running(broker.port) as agent:
        agent.commit(5)
        agent.commit(1, body=b"x" * 3000)
        agent.commit(5)
        agent.delivered(10)
        assert agent.outbox.dead == {(2, 6): "packet_too_large"}
        assert agent.body.to_dict()["connects"] == 1, "the broker was not even asked"


@pytest.mark.slow
def test_a_payload_the_broker_drops_by_a_limit_it_does_not_announce_is_not_delivered_and_others_flow(tmp_path):
    # its PUBACK carries a code that MQTT 5 does not allow there, so the client hangs up: the row becomes a suspect
    with Mosquitto(tmp_path, "message_size_limit 2000") as broker, running(broker.port) as agent:
        agent.commit(1, body=b"x" * 3000)
        agent.commit(5)
        agent.delivered(5, timeout_s=60)
        assert sorted(agent.outbox.done) == [(2, n) for n in range(2, 7)]


class TestRefusals:
    @VERSIONS
    def test_wrong_password_is_named_and_not_hammered(self, tmp_path, version):
        users = password_file(tmp_path, gw1="right")
        secret = tmp_path / "secret"
        secret.touch(mode=0o600)
        secret.write_text("wrong\n")
        with Mosquitto(tmp_path, f"password_file {users}", anonymous=False) as broker:
            options = {"username": "gw1", "password_file": str(secret), "version": version}
            with running(broker.port, **options) as agent:
                agent.commit(1)
                reason = agent.down_reason()
                assert "user name or password" in reason or "not authorized" in reason
                assert "password_file" in reason
                assert agent.outbox.waiting() == 1
                assert agent.transport._dial_at_s - agent.transport._monotonic() > 50
                assert [c.up for c in agent.changes] == [False]

    def test_a_rotated_password_counts_at_the_next_connection(self, tmp_path):
        users = password_file(tmp_path, gw1="right")
        secret = tmp_path / "secret"
        secret.touch(mode=0o600)
        secret.write_text("right\n")
        broker = Mosquitto(tmp_path, f"password_file {users}", anonymous=False)
        with broker, running(broker.port, username="gw1", password_file=str(secret)) as agent:
            agent.connected()
            password_file(tmp_path, gw1="newer")
            secret.write_text("newer\n")
            broker.kill()
            agent.down_reason()
            broker.start()
            agent.commit(1)
            agent.delivered(1)

    def test_a_missing_password_file_is_named(self, tmp_path, mosquitto):
        with running(mosquitto.port, username="gw1", password_file=str(tmp_path / "none")) as agent:
            assert f"cannot read {tmp_path / 'none'}" in agent.down_reason()

    def test_acl_refusal_on_mqtt_5_keeps_the_rows_and_names_the_cause(self, tmp_path):
        acl = tmp_path / "acl"
        acl.write_text(f"topic write {STATE}\ntopic read edge/#\ntopic write {GATEWAY.up('alert')}\n")
        with Mosquitto(tmp_path, f"acl_file {acl}") as broker, running(broker.port) as agent:
            agent.commit(3)
            agent.wait_until(lambda: agent.health.reason.startswith("rows are refused: not_authorized; let"))
            with agent.outbox.lock:
                agent.outbox.commit(0)
            agent.body.wake()
            agent.delivered(1)
            assert agent.outbox.done == [(0, 1)]
            assert agent.outbox.waiting() == 3
            assert agent.outbox.dead == {}
            assert agent.health.up is False

    def test_nobody_listens(self):
        with running(free_port()) as agent:
            assert "nothing listens at 127.0.0.1" in agent.down_reason()

    def test_an_unknown_name(self):
        with running(1883, host="broker.invalid") as agent:
            assert "the name broker.invalid is not known" in agent.down_reason()


def test_a_second_client_with_the_same_name_is_named(mosquitto):
    with running(mosquitto.port, client_id="twin") as agent:
        agent.connected()
        with MqttPeer(mosquitto.port, client_id="twin"):
            assert 'does another client use the id "twin"?' in agent.down_reason()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority):
    return authority.issue("localhost", address="DNS:localhost,IP:127.0.0.1")


@pytest.fixture(scope="module")
def device(authority):
    return authority.issue("gw1")


class TestTls:
    def broker(self, folder, authority, server, *lines):
        cert, key = server
        return Mosquitto(folder, f"cafile {authority.ca}", f"certfile {cert}", f"keyfile {key}", *lines)

    @VERSIONS
    def test_rows_go_out_with_a_client_certificate(self, tmp_path, authority, server, device, version):
        cert, key = device
        tls = TlsConfig(ca=str(authority.ca), cert=str(cert), key=str(key))
        broker = self.broker(tmp_path, authority, server, "require_certificate true")
        with broker, running(broker.port, host="localhost", tls=tls, version=version) as agent:
            agent.commit(200)
            agent.delivered(200)

    def test_a_wrong_ca_is_named_and_nothing_is_sent(self, tmp_path, authority, server):
        other = Authority(tmp_path, "stranger")
        tls = TlsConfig(ca=str(other.ca))
        broker = self.broker(tmp_path, authority, server)
        with broker, running(broker.port, host="localhost", tls=tls) as agent:
            agent.commit(1)
            reason = agent.down_reason()
            assert "certificate of localhost" in reason
            assert "issuer is not known" in reason
            assert "PUBLISH" not in broker.log()
            assert "New client connected" not in broker.log()

    def test_a_certificate_for_another_name_is_named(self, tmp_path, authority):
        tls = TlsConfig(ca=str(authority.ca))
        broker = self.broker(tmp_path, authority, authority.issue("elsewhere"))
        with broker, running(broker.port, host="localhost", tls=tls) as agent:
            assert "issued for another name" in agent.down_reason()

    def test_server_name_stands_in_for_an_address(self, tmp_path, authority):
        with self.broker(tmp_path, authority, authority.issue("broker.plant")) as broker:
            tls = TlsConfig(ca=str(authority.ca), server_name="broker.plant")
            with running(broker.port, tls=tls) as agent:
                agent.connected()

    def test_a_missing_client_certificate_is_named(self, tmp_path, authority, server):
        tls = TlsConfig(ca=str(authority.ca))
        broker = self.broker(tmp_path, authority, server, "require_certificate true")
        with broker, running(broker.port, host="localhost", tls=tls) as agent:
            # the alert may be lost with the connection: then the hint asks
            assert "client certificate" in agent.down_reason() or "this client's certificate" in agent.down_reason()

    def test_a_missing_file_is_named(self, mosquitto):
        with running(mosquitto.port, tls=TlsConfig(ca="/nowhere/ca.pem")) as agent:
            assert "cannot use tls.ca (/nowhere/ca.pem)" in agent.down_reason()

    def test_plain_port_is_named(self, mosquitto):
        with running(mosquitto.port, tls=TlsConfig()) as agent:
            assert "TLS" in agent.down_reason()

    def test_tls_port_without_tls_is_named(self, tmp_path, authority, server):
        with self.broker(tmp_path, authority, server) as broker, running(broker.port) as agent:
            assert "TLS" in agent.down_reason()


class TestBackendMode:
    POLICY = Policy(backend=True, resend_after_ns=1_000_000_000)

    def test_rows_leave_only_on_the_backends_word(self, mosquitto):
        with MqttPeer(mosquitto.port, TELE) as backend, running(mosquitto.port, policy=self.POLICY) as agent:
            agent.commit(3, n=10)
            backend.wait_for(lambda m: len(m) >= 3)
            assert agent.outbox.done == []
            ack = {"schema": "ack/1", "epoch": EPOCH, "have": {"press": [[0, 9], [20, 29]]}}
            backend.publish(GATEWAY.down("ack"), json.dumps(ack))
            agent.delivered(2)
            assert sorted(agent.outbox.done) == [(2, 1), (2, 3)]
            backend.wait_for(lambda m: [x for x in m[3:] if x[1] == tele_body(("press",), 10, 10)])  # sent again
            ack["have"] = {"press": [[0, 29]]}
            backend.publish(GATEWAY.down("ack"), json.dumps(ack))
            agent.delivered(3)

    def test_nonsense_is_counted_and_changes_nothing(self, mosquitto):
        with MqttPeer(mosquitto.port, TELE) as backend, running(mosquitto.port, policy=self.POLICY) as agent:
            agent.commit(1, n=10)
            backend.wait_for(lambda m: m)
            for bad in (b"", b"\xff", b"[" * 60_000, b'{"schema":"ack/1","epoch":"E","have":{"press":[[9,0]]}}'):
                backend.publish(GATEWAY.down("ack"), bad)
            agent.wait_until(lambda: agent.health.value("ack_malformed") == 4)
            assert agent.outbox.done == []
            good = {"schema": "ack/1", "epoch": EPOCH, "have": {"press": [[0, 9]]}}
            backend.publish(GATEWAY.down("ack"), json.dumps(good))
            agent.delivered(1)

    def test_a_retained_acknowledgement_is_not_believed(self, mosquitto):
        ack = json.dumps({"schema": "ack/1", "epoch": EPOCH, "have": {"press": [[0, 999]]}})
        with MqttPeer(mosquitto.port) as backend:
            backend.publish(GATEWAY.down("ack"), ack, retain=True)
        with running(mosquitto.port, policy=self.POLICY, version="3.1.1") as agent:
            agent.commit(1)
            agent.wait_until(lambda: agent.health.value("ack_retained") == 1)
            assert agent.outbox.done == []

    def test_a_message_above_64_kib_is_never_delivered_to_the_agent(self, mosquitto):
        with MqttPeer(mosquitto.port) as backend, running(mosquitto.port, policy=self.POLICY) as agent:
            agent.connected()
            backend.publish(GATEWAY.down("ack"), b" " * 262_144)
            backend.publish(GATEWAY.down("cmd", "a"), b"after")
            agent.wait_until(lambda: agent.inbound)
        assert agent.health.value("ack_malformed") == 0

    def test_row_52_on_3_1_1_five_megabytes_are_dropped_unread(self, mosquitto):
        with MqttPeer(mosquitto.port) as backend, running(mosquitto.port, version="3.1.1") as agent:
            agent.connected()
            backend.publish(GATEWAY.down("ack"), b"[" * 5_000_000)
            agent.wait_until(lambda: agent.health.value("down_too_large") == 1)
            assert agent.body.to_dict()["connects"] == 1

    def test_row_52_on_3_1_1_memory_is_bounded_whatever_the_broker_sends(self, mosquitto):
        proxy = TcpProxy(mosquitto.port)
        with proxy, MqttPeer(mosquitto.port) as backend, running(proxy.port, version="3.1.1") as agent:
            agent.connected()
            backend.publish(GATEWAY.down("ack"), b"[" * 100_000_000)
            assert "sends a message of" in agent.down_reason(30)
            assert proxy.forwarded < 20_000_000


def test_rows_55_and_56_answers_are_never_sent_where_a_message_asks_for_them(mosquitto):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "edge/v1/acme/plant/gw2/up/cmd/x"
    properties.CorrelationData = b"c" * 60_000
    with MqttPeer(mosquitto.port, "edge/v1/acme/plant/gw2/#") as other, running(mosquitto.port) as agent:
        agent.connected()
        other.publish(GATEWAY.down("cmd", "x"), b"{}", properties=properties)
        agent.wait_until(lambda: agent.inbound)
        agent.commit(1)
        agent.delivered(1)
        assert agent.inbound[0].body == b"{}"
        assert other.messages == []


def test_row_59_a_flood_of_commands_does_not_stop_the_rows(mosquitto):
    with MqttPeer(mosquitto.port) as flood, running(mosquitto.port) as agent:
        agent.connected()
        for _ in range(10_000):
            flood._client.publish(GATEWAY.down("cmd", "x"), b"{}")
        started = time.monotonic()
        agent.commit(50)
        agent.delivered(50)
        assert time.monotonic() - started < 5.0
        agent.wait_until(lambda: len(agent.inbound) > 0)
