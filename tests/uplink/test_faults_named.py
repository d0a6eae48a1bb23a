"""Rows 9 to 14 of the failure modes: what is wrong with the network has a name and a next step, and costs no row."""

import errno
import json
import time

import pytest
from doubles.mosquitto import Authority, Mosquitto
from doubles.mqtt_peer import MqttPeer
from doubles.outbox import EPOCH
from doubles.scripted_broker import ScriptedBroker
from doubles.tls_portal import REDIRECT, TlsPortal
from running import GATEWAY, running

from edge_agent.config.site import TlsConfig
from edge_agent.links.mqtt import Session
from edge_agent.links.mqtt_types import Settings
from edge_agent.uplink.body import DEAD_LETTERS
from edge_agent.uplink.breaks import Breaks
from edge_agent.uplink.drain import Policy

TELE = GATEWAY.up("tele", "all")


def alerts(agent):
    return [change for change in agent.changes if change.part == DEAD_LETTERS and change.alert and not change.up]


def test_row_14_a_poison_row_is_one_dead_letter_and_one_alert_and_the_others_flow_within_a_second():
    seen = []

    def puback(topic, _):
        seen.append(topic)
        return 0x99 if seen.count(TELE) == 1 else 0

    with ScriptedBroker(puback=puback) as broker, running(broker.port) as agent:
        agent.connected()
        started = time.monotonic()
        agent.commit(5)
        agent.delivered(4)
        assert time.monotonic() - started < 3.0, "1 s on a machine of its own"
        agent.wait_until(lambda: alerts(agent))
        assert agent.outbox.dead == {(2, 1): "payload_format_invalid"}
        (alert,) = alerts(agent)
        assert "the broker refused a row of telemetry for good: payload_format_invalid" in alert.reason
        assert "dead letters" in alert.reason
        assert agent.body.to_dict()["last_dead_letter"] == alert.reason
        assert agent.health.up, "the uplink works"


def test_row_14_a_row_above_the_brokers_limit_is_named_with_what_to_change(tmp_path):
    with Mosquitto(tmp_path, "max_packet_size 2000") as broker, running(broker.port) as agent:
        agent.commit(2)
        agent.commit(1, body=b"x" * 3000)
        agent.commit(2)
        agent.delivered(4)
        agent.wait_until(lambda: alerts(agent))
        assert "packet_too_large" in alerts(agent)[0].reason
        assert "lower store.row_limit" in alerts(agent)[0].reason


def test_row_14_what_the_backend_rejects_is_a_dead_letter_with_an_alert(tmp_path):
    policy = Policy(backend=True, resend_after_ns=10**9)
    with (
        Mosquitto(tmp_path) as broker,
        MqttPeer(broker.port, TELE) as backend,
        running(broker.port, policy=policy) as agent,
    ):
        agent.commit(2, n=10)
        backend.wait_for(lambda m: len(m) >= 2)
        ack = {"schema": "ack/1", "epoch": EPOCH, "have": {"press": [[10, 19]]}}
        ack["reject"] = [{"stream": "press", "seq": 3, "code": "schema"}]
        backend.publish(GATEWAY.down("ack"), json.dumps(ack))
        agent.wait_until(lambda: alerts(agent))
        assert "the backend refused a row of telemetry for good: schema" in alerts(agent)[0].reason
        assert agent.outbox.dead == {(2, 1): "schema"}
        assert agent.outbox.done == [(2, 2)]


def test_row_11_a_slow_broker_is_named_and_holds_up_nothing_but_itself():
    def dawdle(topic, _):
        time.sleep(0.3 if topic == TELE else 0)
        return 0

    policy = Policy(slow_after_ns=200_000_000)
    with ScriptedBroker(puback=dawdle) as broker, running(broker.port, policy=policy, window=4) as agent:
        agent.connected()
        for _ in range(20):
            started = time.monotonic()
            agent.commit(10)
            assert time.monotonic() - started < 1.0, "ten commits wait for no broker, which takes 3 s for ten rows"
            assert agent.body.to_dict()["in_flight"] <= 4
        agent.wait_until(lambda: "the broker is slow" in agent.health.reason)
        assert "waits on the disk" in agent.health.reason
        assert agent.outbox.waiting() > 150
        assert agent.outbox.dead == {}


def test_row_12_a_portal_on_the_port_for_tls_is_named_and_gets_nothing():
    with ScriptedBroker(greeting=REDIRECT) as portal, running(portal.port, tls=TlsConfig()) as agent:
        agent.commit(3)
        reason = agent.down_reason()
        assert "does not speak TLS" in reason
        assert "captive portal" in reason
        assert bytes(portal.received[:1]) == b"\x16", "a TLS hello, and no more"
        assert b"tele" not in bytes(portal.received)
        assert agent.outbox.waiting() == 3


def test_row_12_a_network_that_intercepts_tls_is_named_and_gets_not_one_byte(tmp_path):
    stranger, ours = Authority(tmp_path, "stranger"), Authority(tmp_path, "ours")
    cert, key = stranger.issue("localhost", address="DNS:localhost,IP:127.0.0.1")
    tls = TlsConfig(ca=str(ours.ca))
    with TlsPortal(cert, key) as portal, running(portal.port, host="localhost", tls=tls) as agent:
        agent.commit(3)
        reason = agent.down_reason()
        assert "its issuer is not known here" in reason
        assert "a network that intercepts TLS looks the same" in reason
        assert portal.connects >= 1
        assert bytes(portal.payload) == b""
        assert agent.outbox.waiting() == 3


def test_a_tls_broker_that_resets_before_it_says_why_is_asked_for_its_client_certificates():
    session = object.__new__(Session)
    session.settings = Settings(host="b", port=8883, client_id="c", tls=TlsConfig())
    session.where, session.state = "b:8883", "greeting"
    assert "does it ask for a client certificate" in str(session._broke(errno.ECONNRESET))
    session.state = "up"
    assert "see the broker's log" in str(session._broke(errno.ECONNRESET))


def test_row_9_three_breaks_in_ten_minutes_are_a_flapping_connection():
    breaks = Breaks()
    for at in (0, 10):
        breaks.add(at)
    assert breaks.words(20) == ""
    breaks.add(20)
    assert breaks.words(20) == "3 times in 10 min"
    assert breaks.words(601) == ""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_two_agents_with_one_client_id_are_named_as_a_loop_and_spread_out(tmp_path, version):
    with Mosquitto(tmp_path) as broker:
        options = {"client_id": "twin", "version": version}
        with running(broker.port, **options) as one, running(broker.port, **options) as other:
            reasons = one.wait_until(
                lambda: [a._told("reason") for a in (one, other) if "times in 10 min" in a._told("reason")], 60
            )
            connects = broker.log().count("New client connected")
        assert "another client" in reasons[0]
        assert '"twin"' in reasons[0] or "stop one" in reasons[0]
        assert connects < 30
