"""Row 13 of the failure modes: what arrives twice counts once; what was confirmed just before a kill comes again."""

import time

import pytest
from demo_backend import DemoBackend
from doubles.mosquitto import Mosquitto
from doubles.tcp_proxy import TcpProxy
from running import Running, running

from edge_agent.uplink.drain import Policy
from tests.store.box import Box

_PUBLISH = 3


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        yield broker


class DoublingProxy(TcpProxy):
    """Sends every PUBLISH of the agent twice, as a broker or a line that retries may."""

    def __init__(self, target):
        self.doubled = 0
        self._target = target
        self._kept = {}
        super().__init__(target)

    def _forward(self, sock):
        data = sock.recv(65536)
        if not data:
            self._drop(sock)
            return
        from_agent = self._pairs[sock].getpeername()[1] == self._target
        self._pairs[sock].sendall(self._doubled(sock, data) if from_agent else data)

    def _doubled(self, sock, data):
        rest, out = self._kept.pop(sock, b"") + data, b""
        while (size := _packet_bytes(rest)) and size <= len(rest):
            packet, rest = rest[:size], rest[size:]
            out += packet
            if packet[0] >> 4 == _PUBLISH:
                self.doubled += 1
                out += bytes([packet[0] | 0x08]) + packet[1:]
        self._kept[sock] = rest
        return out


def _packet_bytes(data):
    """Of the first packet; 0 while its length is not there."""
    length = shift = 0
    for i, digit in enumerate(data[1:5], start=2):
        length |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return i + length
    return 0


def settled(backend, numbers, duplicates=0, timeout_s=20):
    end = time.monotonic() + timeout_s
    while (verdict := backend.verdict()).received < numbers or verdict.duplicates < duplicates:
        assert time.monotonic() < end, verdict
        time.sleep(0.02)
    return verdict


@pytest.mark.parametrize("mode", ["broker", "backend"])
def test_row_13_rows_that_the_line_doubles_count_once(mosquitto, mode):
    backend = DemoBackend(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    policy = Policy(backend=mode == "backend", resend_after_ns=10**9)
    with DoublingProxy(mosquitto.port) as proxy, running(proxy.port, policy=policy) as agent:
        agent.commit(50, n=10, streams=("press", "oven"))
        agent.delivered(50)
        verdict = settled(backend, 1000)
        assert proxy.doubled >= 50
        assert agent.body.to_dict()["connects"] == 1
    backend.stop()
    assert (verdict.received, verdict.lost, verdict.conflicts, verdict.refused) == (1000, 0, 0, 0)
    assert verdict.duplicates >= 900


def test_row_13_a_kill_between_the_confirmation_and_its_commit_sends_again_and_doubles_nothing(tmp_path, mosquitto):
    box = Box(tmp_path / "store", quota_bytes=64_000_000)
    backend = DemoBackend(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    for _ in range(20):
        box.commit(box.telemetry(("press",), count=10))
    for crash in (True, False):
        agent = Running(mosquitto.port, outbox=box.outbox, epoch=box.epoch)
        agent.thread.start()
        agent.wait_until(lambda agent=agent: agent.body.to_dict()["delivered"] >= 20)
        settled(backend, 200)
        agent.body.stop()
        agent.thread.join(10)
        if crash:
            box.crash()  # the deliveries were never committed
    verdict = settled(backend, 200, duplicates=200)
    backend.stop()
    box.close()
    received = backend.received("press")
    assert (received, verdict.lost, verdict.conflicts) == (200, 0, 0)
    assert verdict.duplicates >= 200
