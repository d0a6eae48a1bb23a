"""The uplink on the real store: what was committed is with the backend or declared, across kills of both sides."""

import random
import threading
import time

from demo_backend import DemoBackend
from doubles.mosquitto import Mosquitto
from running import Running

from edge_agent.uplink.drain import Policy
from tests.store.box import Box

POLICIES = {
    "broker": Policy(resend_after_ns=500_000_000),
    "backend": Policy(backend=True, resend_after_ns=500_000_000),
}


class Plant:
    """A store that a thread of the test writes to, an uplink on it, a broker and a backend."""

    def __init__(self, folder, mode, *broker_lines):
        self.box = Box(folder / "store", quota_bytes=64_000_000)
        self.broker = Mosquitto(folder, "max_queued_messages 0", *broker_lines).start()
        self.backend = DemoBackend(self.broker.port)
        self.backend.start()
        assert self.backend.subscribed.wait(10)
        self.policy = POLICIES[mode]
        self.agent = None

    def start_uplink(self):
        self.agent = Running(self.broker.port, policy=self.policy, outbox=self.box.outbox, epoch=self.box.epoch)
        self.agent.thread.start()

    def stop_uplink(self):
        self.agent.body.stop()
        self.agent.thread.join(10)

    def commit(self, rng):
        box = self.box
        box.commit(box.telemetry(("press", "oven"), count=rng.randint(1, 30)))
        box.commit([box.decision()] if rng.random() < 0.3 else [box.prediction()])
        self.agent.body.wake()

    def verdict(self):
        given = {("gw1", epoch, stream): last for (stream, epoch), last in self.box.given.items()}
        return self.backend.verdict(given)

    def settle(self, timeout_s=40):
        end = time.monotonic() + timeout_s
        while (verdict := self.verdict()).lost or self._waiting():
            assert time.monotonic() < end, (verdict, self.agent.body.to_dict(), self._waiting())
            self.box.commit()  # deliveries become durable with the store's next commit
            time.sleep(0.05)
        return verdict

    def close(self):
        self.stop_uplink()
        self.backend.stop()
        self.broker.stop()
        self.box.close()

    def _waiting(self):
        return sum(last - first + 1 for prio in range(3) for first, last in self.box.writer.outgoing.waiting(prio))


def check_all_is_accounted_for(plant):
    """received + declared = accepted, per stream and epoch; the ledger's own numbers come on top."""
    verdict = plant.settle()
    accepted = sum(last + 1 for last in plant.box.given.values())
    received = sum(len(r) for (_, _, stream), r in plant.backend._tally.received.items() if stream != "ledger")
    assert received + verdict.gaps == accepted
    assert (verdict.lost, verdict.conflicts, verdict.refused) == (0, 0, 0)


def test_everything_committed_reaches_the_backend(tmp_path):
    plant = Plant(tmp_path, "broker")
    plant.start_uplink()
    rng = random.Random(1)
    for _ in range(40):
        plant.commit(rng)
    check_all_is_accounted_for(plant)
    plant.close()


def test_restarts_of_the_agent_and_kills_of_the_broker_lose_nothing_in_backend_mode(tmp_path):
    plant = Plant(tmp_path, "backend")
    plant.start_uplink()
    rng = random.Random(2)
    for round_ in range(3):
        for _ in range(15):
            plant.commit(rng)
        plant.broker.kill()
        for _ in range(5):
            plant.commit(rng)
        plant.stop_uplink()
        plant.box.crash()
        plant.broker.start()
        plant.start_uplink()
        assert plant.box.epoch == plant.box.epochs[round_ + 1]
    check_all_is_accounted_for(plant)
    plant.close()


def test_readings_committed_while_the_uplink_reads_are_not_skipped(tmp_path):
    plant = Plant(tmp_path, "broker")
    plant.start_uplink()
    stop = threading.Event()

    def write():
        rng = random.Random(3)
        while not stop.is_set():
            plant.commit(rng)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(2.0)
    stop.set()
    writer.join()
    check_all_is_accounted_for(plant)
    plant.close()


def test_a_dead_letter_becomes_a_declared_gap(tmp_path):
    plant = Plant(tmp_path, "backend", "max_packet_size 1500")
    plant.start_uplink()
    for noise_bytes in (0, 4000, 0):
        plant.box.commit(plant.box.telemetry(count=10, noise_bytes=noise_bytes))
    plant.agent.body.wake()
    check_all_is_accounted_for(plant)
    assert plant.backend._tally.reasons == {"rejected": 10}
    plant.close()
