"""An uplink with its thread, an outbox in memory, and what it said: for tests against real brokers."""

import random
import threading
import time
from contextlib import contextmanager

from doubles.outbox import EPOCH, MemoryOutbox

from edge_agent.clock import SystemClock
from edge_agent.config.site import UplinkConfig
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.contract.topics import Gateway
from edge_agent.health import PartHealth
from edge_agent.types import Reading, Record, Stamp
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.drain import Drain, Policy
from edge_agent.uplink.mqtt import Identity, MqttUplink

GATEWAY = Gateway("acme", "plant", "gw1")
BROKER_MODE = Policy()


def tele_body(streams, seq0, n, *, gateway="gw1", epoch=EPOCH, celsius=20.5):
    """A telemetry body, made by the contract's own encoder."""
    builder = TeleBuilder(gateway, epoch, describe=lambda stream: StreamSpec(), limit_bytes=1_000_000)
    for i in range(n):
        for stream in streams:
            reading = Reading(stream, Stamp(i * 10**9, i * 10**9, boot="b"), {"temp": celsius})
            builder.append(Record(seq0 + i, reading))
    (draft,), _ = builder.close()
    return draft.body


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
    def __init__(self, port, *, policy=BROKER_MODE, outbox=None, epoch=EPOCH, **config):
        self.outbox = outbox or LockedOutbox()
        self.health = PartHealth("uplink")
        self.changes = []
        self.inbound = []
        self.news = threading.Condition()
        config = UplinkConfig(kind="mqtt", **{"host": "127.0.0.1", "port": port, **config})
        identity = Identity(GATEWAY, epoch, 7)
        self.body = UplinkBody(
            lambda: MqttUplink(config, identity, counters=self.health, rng=random.Random(4)),
            lambda: Drain(self.outbox, policy),
            clock=SystemClock(), health=self.health, post=self._changed, inbound=self._came,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.body.run, daemon=True)

    @property
    def transport(self):
        return self.body._uplink

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
        return self.wait_until(lambda: not self._told("connected") and self._told("reason"), timeout_s)

    def _told(self, name):
        return self.body.to_dict()[name]

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

