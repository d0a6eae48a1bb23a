"""A store driven step by step, without its thread: numbers, rows, commits, restarts."""

import random
import shutil

from edge_agent.clock import FakeClock
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.store.gaps import GapSet
from edge_agent.store.opening import open_store
from edge_agent.store.outbox import Outbox
from edge_agent.types import Reading, Record
from tests.store import effects

MIN_QUOTA = 512 * 1024


class Box:
    """`given` has, by (stream, epoch), the highest number that was committed or declared."""

    def __init__(self, directory, quota_bytes=MIN_QUOTA, seed=0, witness=None):
        self.directory = directory
        self.quota_bytes = quota_bytes
        self.witness = witness
        self.clock = FakeClock()
        self.rng = random.Random(seed)
        self.given = {}
        self.epochs = []
        self.open()

    def open(self):
        self.clock.advance(1)
        self.writer = open_store(
            self.directory,
            gateway="gw1",
            quota_bytes=self.quota_bytes,
            clock=self.clock,
            entropy=self.rng.randbytes,
            witness=self.witness,
        )
        self.epoch = self.writer.epoch
        self.epochs.append(self.epoch)
        self.outbox = Outbox(self.writer.path, self.writer.outgoing)

    def close(self):
        self.outbox.close()
        self.writer.close()

    def restart(self):
        self.close()
        self.open()

    def crash(self, meanwhile=lambda directory: None):
        """What is on the disk at this moment, without a clean end: database and -wal as they are. `meanwhile` gets
        the directory before the next start."""
        kept = self.directory.with_name(self.directory.name + "-kept")
        kept.mkdir()
        for name in ("store.db", "store.db-wal", "store.id"):
            if (self.directory / name).exists():
                shutil.copyfile(self.directory / name, kept / name)
        self.close()
        shutil.rmtree(self.directory)
        kept.rename(self.directory)
        meanwhile(self.directory)
        self.open()

    def number(self, stream):
        key = (stream, self.epoch)
        self.given[key] = self.given.get(key, -1) + 1
        return self.given[key]

    def telemetry(self, streams=("press",), count=10, noise_bytes=0, group=lambda stream: "all"):
        rows = TeleBuilder("gw1", self.epoch, describe=lambda s: StreamSpec(group(s)), limit_bytes=96 * 1024)
        for i in range(count):
            for stream in streams:
                text = self.rng.randbytes(noise_bytes // 2).hex()
                values = {"temp": 20 + i / 10, "noise": text} if noise_bytes else {"temp": 20 + i / 10}
                rows.append(Record(self.number(stream), Reading(stream, effects.at(i), values)))
        drafts, refused = rows.close()
        assert not refused
        return drafts

    def prediction(self, noise_bytes=0):
        detail = {"noise": self.rng.randbytes(noise_bytes // 2).hex()} if noise_bytes else None
        return self.writer.encoder.prediction(effects.prediction(self.number("infer-bearing"), detail))

    def decision(self, noise_bytes=0):
        text = self.rng.randbytes(noise_bytes // 2).hex()
        return self.writer.encoder.decision(effects.decision(self.number("decision"), text=text))

    def commit(self, drafts=(), lost=()):
        gaps = GapSet()
        for stream, first, last, reason in lost:
            gaps.add(stream, self.epoch, first, last, reason)
        return self.writer.commit(list(drafts), gaps)

    def waiting(self, prio):
        """All that the outbox would send, read to the end."""
        rows, after = [], 0
        while some := self.outbox.unacked(prio, after, 50):
            rows += some
            after = some[-1].id
        return rows

    def deliver(self, rows):
        self.outbox.delivered([(row.prio, row.id) for row in rows])

    @property
    def database_bytes(self):
        return sum(
            (self.directory / name).stat().st_size
            for name in ("store.db", "store.db-wal")
            if (self.directory / name).exists()
        )
