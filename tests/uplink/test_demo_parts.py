"""The demo's broker and backend, together with the uplink: iotcore keeps nothing, and nothing is lost."""

import json

import pytest
from demo_backend import DemoBackend
from demo_broker import DemoBroker
from doubles.mqtt_peer import MqttPeer
from running import GATEWAY, running

from edge_agent.uplink.drain import Policy

pytest.importorskip("iotcore", reason="the demo's broker: pip install -e .[demo]")

BACKEND = Policy(backend=True, resend_after_ns=1_000_000_000)
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@VERSIONS
def test_the_broker_is_taken_away_and_brought_back_and_every_row_arrives_once(version):
    with DemoBroker(version=version) as broker:
        backend = DemoBackend(broker.port, version=version)
        backend.start()
        assert backend.subscribed.wait(10)
        with running(broker.port, policy=BACKEND, version=version) as agent:
            agent.commit(60, n=10, streams=("press", "oven"))
            agent.wait_until(lambda: agent.body.to_dict()["sent"] >= 20)
            broker.kill()
            assert not broker.running
            agent.down_reason()
            agent.commit(60, n=10, streams=("press", "oven"))
            broker.start()
            agent.delivered(120, timeout_s=40)
            verdict = backend.verdict()
        backend.stop()
    assert (verdict.received, verdict.lost, verdict.conflicts, verdict.refused) == (2400, 0, 0, 0)


def test_a_large_row_goes_through_the_demos_broker():
    with DemoBroker() as broker, running(broker.port) as agent:
        agent.commit(1, body=b"x" * 96 * 1024)
        agent.delivered(1)


def test_the_will_reaches_the_backend():
    with DemoBroker() as broker:
        backend = DemoBackend(broker.port)
        backend.start()
        assert backend.subscribed.wait(10)
        with running(broker.port) as agent:
            agent.wait_until(lambda: backend.online("gw1") is True)
            agent.transport._session._socket.shutdown(2)
            agent.wait_until(lambda: backend.online("gw1") is False)
            agent.wait_until(lambda: backend.online("gw1") is True)
        backend.stop()


def test_the_broker_ends_with_whoever_started_it():
    broker = DemoBroker()
    broker.start()
    broker._child.stdin.close()
    assert broker._child.wait(10) == 0
    broker.close()


@pytest.mark.slow
def test_a_row_above_the_brokers_unannounced_limit_does_not_stop_the_others():
    """rumqttd hangs up on it, without a reason."""
    with DemoBroker(most_payload=20_480) as broker, running(broker.port) as agent:
        agent.commit(5)
        agent.commit(1, body=b"x" * 30_000)
        agent.commit(5)
        agent.delivered(10, timeout_s=60)
        assert (2, 6) not in agent.outbox.done


def test_the_backend_speaks_the_contract():
    with DemoBroker() as broker:
        backend = DemoBackend(broker.port)
        backend.start()
        assert backend.subscribed.wait(10)
        with MqttPeer(broker.port, GATEWAY.down("ack")) as peer, running(broker.port) as agent:
            agent.commit(2, n=10)
            acks = peer.wait_for(lambda m: [json.loads(x[1]) for x in m if b"[0,19]" in x[1]])
        backend.stop()
    assert acks[0]["schema"] == "ack/1"
    assert acks[0]["have"] == {"press": [[0, 19]]}
