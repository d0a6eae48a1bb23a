"""Rows 9 to 14 of the failure modes: flapping, half-open, slow and dying brokers lose nothing and are named."""

import random
import time

import pytest
from demo_backend import DemoBackend
from doubles.mosquitto import Mosquitto
from doubles.mqtt_peer import MqttPeer
from doubles.tcp_proxy import TcpProxy
from running import GATEWAY, running

from edge_agent.links.backoff import LEAST_S, MOST_S, STABLE_S, Backoff
from edge_agent.uplink.drain import Policy

BACKEND = Policy(backend=True, resend_after_ns=1_000_000_000)


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        yield broker


def verdict_when(backend, done, timeout_s=40):
    end = time.monotonic() + timeout_s
    while not done(verdict := backend.verdict()):
        assert time.monotonic() < end, verdict
        time.sleep(0.05)
    return verdict


def test_what_a_killed_broker_had_confirmed_is_sent_again_in_backend_mode(mosquitto):
    """1,000 messages confirmed, the broker killed, 0 delivered: that is what a PUBACK is worth."""
    backend = DemoBackend(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    backend.stop()  # its session stays, and the broker queues for it
    with running(mosquitto.port, policy=BACKEND) as agent:
        agent.commit(200, n=10, streams=("press", "oven"))
        agent.wait_until(lambda: agent.body.to_dict()["uncovered"] == 200 and not agent.body.to_dict()["in_flight"])
        mosquitto.kill()
        agent.down_reason()
        mosquitto.start()
        backend = DemoBackend(mosquitto.port)
        backend.start()
        agent.delivered(200)
        verdict = backend.verdict()
        backend.stop()
    assert (verdict.received, verdict.lost, verdict.conflicts, verdict.refused) == (4000, 0, 0, 0)


@pytest.mark.slow
def test_a_broker_killed_again_and_again_loses_nothing_in_backend_mode(mosquitto):
    backend = DemoBackend(mosquitto.port)
    backend.start()
    rng = random.Random(1)
    with running(mosquitto.port, policy=BACKEND) as agent:
        for _ in range(5):
            agent.connected()
            assert backend.subscribed.wait(20)
            agent.commit(100, n=10, streams=("press", "oven"))
            time.sleep(rng.uniform(0.0, 0.1))
            mosquitto.kill()
            agent.down_reason()
            mosquitto.start()
        agent.delivered(500, timeout_s=60)
        verdict = verdict_when(backend, lambda v: v.received >= 10_000)
    backend.stop()
    assert (verdict.received, verdict.lost, verdict.conflicts, verdict.refused) == (10_000, 0, 0, 0)


def test_row_10_a_half_open_connection_with_data_in_flight_is_noticed_within_5_seconds(mosquitto):
    with TcpProxy(mosquitto.port) as proxy, running(proxy.port, window=1000) as agent:
        agent.connected()
        proxy.swallow = True  # unread data fills the window: the peer's TCP confirms nothing more
        started = time.monotonic()
        agent.commit(2)
        with agent.outbox.lock:
            for _ in range(200):
                agent.outbox.commit(0, b"x" * 96_000)  # alerts pass the byte window
        agent.body.wake()
        reason = agent.down_reason(10)
        assert time.monotonic() - started < 5.0
        assert "does not answer" in reason
        proxy.swallow = False
        agent.delivered(202, timeout_s=30)


@pytest.mark.slow
def test_row_10_a_silent_idle_connection_is_noticed_within_one_and_a_half_keepalives(mosquitto):
    with TcpProxy(mosquitto.port) as proxy, running(proxy.port, keepalive_s=5) as agent:
        agent.connected()
        time.sleep(0.2)
        started = time.monotonic()
        proxy.swallow = True
        reason = agent.down_reason(12)
        assert time.monotonic() - started < 7.5
        assert "is silent" in reason or "does not answer" in reason


@pytest.mark.slow
def test_row_9_a_flapping_broker_gets_at_most_one_connect_a_second_and_all_rows(mosquitto):
    with TcpProxy(mosquitto.port) as proxy, running(proxy.port) as agent:
        proxy.cut_after_s = 0.3
        started, cpu = time.monotonic(), time.process_time()
        for _ in range(20):
            agent.commit(5)
            time.sleep(1.0)
        gaps = [b - a for a, b in zip(proxy.connects, proxy.connects[1:], strict=False)]
        assert len(proxy.connects) >= 3
        assert "times in 10 min" in agent.down_reason()
        assert min(gaps) >= 1.0
        assert (time.process_time() - cpu) / (time.monotonic() - started) < 0.1
        proxy.cut_after_s = None
        agent.delivered(100, timeout_s=150)
        assert agent.outbox.dead == {}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_row_9_ten_minutes_of_resets_every_0_1_to_5_seconds_lose_nothing(mosquitto):
    rng = random.Random(9)
    backend = DemoBackend(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    with TcpProxy(mosquitto.port) as proxy, running(proxy.port, policy=BACKEND, reconnect_max="5s") as agent:
        started, cpu = time.monotonic(), time.process_time()
        committed = 0
        while time.monotonic() - started < 600:
            proxy.cut_after_s = rng.uniform(0.1, 5.0)
            agent.commit(5)
            committed += 5
            time.sleep(1.0)
        gaps = [b - a for a, b in zip(proxy.connects, proxy.connects[1:], strict=False)]
        assert min(gaps) >= 1.0
        assert (time.process_time() - cpu) / (time.monotonic() - started) < 0.1
        proxy.cut_after_s = None
        agent.delivered(committed, timeout_s=60)
        assert agent.outbox.dead == {}
        verdict = verdict_when(backend, lambda v: v.received >= committed * 10)
    backend.stop()
    assert (verdict.lost, verdict.conflicts, verdict.refused) == (0, 0, 0)


def test_jitter_is_full_and_starts_over_only_after_a_minute_of_stability():
    backoff = Backoff(random.Random(7))
    now = 0.0
    waits = []
    for _ in range(400):
        now += 1.0
        backoff.connected(now)
        now += 1.0  # accepted, then dropped: no success
        waits.append(backoff.failed(now))
    assert min(waits) >= LEAST_S
    assert max(waits) <= MOST_S
    late = waits[10:]
    assert min(late) < 10
    assert max(late) > 110
    assert 50 < sum(late) / len(late) < 72
    backoff.connected(now)
    assert backoff.failed(now + STABLE_S) <= 2.0


def test_two_gateways_that_lose_the_same_broker_do_not_return_together():
    waits = [Backoff(random.Random(seed)).failed(0.0) for seed in range(100)]
    assert len({round(wait, 3) for wait in waits}) > 90


@pytest.mark.slow
def test_row_30_live_rows_and_alerts_overtake_a_backlog_on_a_slow_line(mosquitto):
    """256 kbit/s, 400 rows of 16 kB waiting: about 200 s of line."""
    with ThrottledProxy(mosquitto.port, bytes_per_s=32_000) as proxy, running(proxy.port) as agent:
        with agent.outbox.lock:
            for _ in range(400):
                agent.outbox.commit(2, random.Random(1).randbytes(16_000))
        with MqttPeer(mosquitto.port, GATEWAY.up("alert"), GATEWAY.up("infer", "bearing")) as peer:
            agent.connected()
            time.sleep(3.0)
            lags = []
            for prio in (0, 1, 0, 1):
                seen = len(peer.messages)
                with agent.outbox.lock:
                    agent.outbox.commit(prio, b"now")
                agent.body.wake()
                started = time.monotonic()
                peer.wait_for(lambda m, seen=seen: len(m) > seen)
                lags.append(time.monotonic() - started)
            assert agent.outbox.waiting() > 300
        assert max(lags) < 5.0
        proxy.bytes_per_s = 10**9


class ThrottledProxy(TcpProxy):
    """Passes on so many bytes a second."""

    def __init__(self, target, *, bytes_per_s):
        self.bytes_per_s = bytes_per_s
        super().__init__(target)

    def _forward(self, sock):
        data = sock.recv(4096)
        if not data:
            self._drop(sock)
            return
        self._pairs[sock].sendall(data)
        self._stop.wait(len(data) / self.bytes_per_s)
