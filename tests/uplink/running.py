"""An uplink with its thread, an outbox in memory, and what it said: for tests against real brokers."""

import random
import threading
import time
import zlib
from contextlib import contextmanager

import msgspec
from doubles.outbox import EPOCH, MemoryOutbox

from edge_agent.clock import SystemClock
from edge_agent.config.site import UplinkConfig
from edge_agent.contract import messages
from edge_agent.contract.topics import Gateway
from edge_agent.health import PartHealth
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.drain import Drain, Policy
from edge_agent.uplink.mqtt import Identity, MqttUplink

GATEWAY = Gateway("acme", "plant", "gw1")
IDENTITY = Identity(GATEWAY, EPOCH, 7)


def tele_body(streams, seq0, n):
    """A telemetry body as the store makes it, deflated."""
    parts = []
    for stream in streams:
        segment = messages.Segment(
            stream=stream, seq0=seq0, n=n, dt=[0] * n, ch={"temp": messages.Channel(x=[20.5] * n)}, h=""
        )
        text = msgspec.json.encode(segment).rpartition(b',"h":"')[0]
        parts.append(text + b',"h":"%08x"}' % zlib.crc32(text + b"}"))
    head = messages.Tele(gw="gw1", epoch=EPOCH, boot="b", t0=1, m0=1, tq="synced", seg=[])
    text = msgspec.json.encode(head).replace(b'"seg":[]', b'"seg":[' + b",".join(parts) + b"]")
    return zlib.compress(text)


class LockedOutbox(MemoryOutbox):
    """Committed to by the test, read by the uplink's thread."""

    def __init__(self):
        super().__init__()
        self.lock = threading.RLock()

    def commit_tele(self, n=10, streams=("press",), body=None):
        with self.lock:
            seq0 = self._next_seq.get(streams[0], 0)
            return self.commit(2, body or tele_body(streams, seq0, n), streams, n)

    def unacked(self, prio, after, limit):
        with self.lock:
            return super().unacked(prio, after, limit)

    def delivered(self, rows):
        with self.lock:
            super().delivered(rows)


class Running:
    def __init__(self, port, *, policy=Policy(), outbox=None, epoch=EPOCH, **config):
        self.outbox = outbox or LockedOutbox()
        self.health = PartHealth("uplink")
        self.changes = []
        self.inbound = []
        self.news = threading.Condition()
        config = UplinkConfig(kind="mqtt", **{"host": "127.0.0.1", "port": port, **config})
        identity = Identity(GATEWAY, epoch, 7)
        self.transport = MqttUplink(config, identity, counters=self.health, rng=random.Random(4))
        self.drain = Drain(self.outbox, policy)
        self.body = UplinkBody(
            self.transport, self.drain, clock=SystemClock(), health=self.health,
            post=self._changed, inbound=self._came,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.body.run, daemon=True)

    def commit(self, count=1, **options):
        for _ in range(count):
            self.outbox.commit_tele(**options)
        self.body.wake()

    def wait_until(self, found, timeout_s=15):
        end = time.monotonic() + timeout_s
        while not (result := found()):
            assert time.monotonic() < end, (self.body.to_dict(), self.health.to_dict(0), self.changes[-3:])
            time.sleep(0.01)
        return result

    def delivered(self, count, timeout_s=15):
        return self.wait_until(lambda: len(self.outbox.done) >= count, timeout_s)

    def connected(self, timeout_s=15):
        return self.wait_until(lambda: self.body.to_dict()["connected"], timeout_s)

    def down_reason(self, timeout_s=15):
        return self.wait_until(lambda: not self.body.to_dict()["connected"] and self.body.to_dict()["reason"], timeout_s)

    def _changed(self, events):
        self.changes.extend(events)

    def _came(self, message):
        self.inbound.append(message)


@contextmanager
def running(port, **options):
    agent = Running(port, **options)
    agent.thread.start()
    try:
        yield agent
    finally:
        agent.body.stop()
        agent.thread.join(10)
        assert not agent.thread.is_alive()

