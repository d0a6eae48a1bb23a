"""Whatever happens to the store in whatever order: delivered + declared = everything committed, and nothing twice."""

import shutil
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.contract import decode
from tests.store.accounting import Account
from tests.store.box import MIN_QUOTA, Box

PRIORITIES = st.sampled_from([0, 1, 2])


class StoreMachine(RuleBasedStateMachine):
    """The reference is two sets: what was committed, and what the backend was given."""

    def __init__(self):
        super().__init__()
        # no power is cut here, so a disk that need not sync is as good and a hundred times faster
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="store-model-", dir=memory if memory.is_dir() else None))
        self.box = Box(self.root / "data")
        self.backend = Account()
        self.most_bytes = 0

    @rule(count=st.integers(1, 8), noise=st.sampled_from([0, 400, 3000]), streams=st.integers(1, 3))
    def commit_telemetry(self, count, noise, streams):
        names = ["press", "motor", "tank"][:streams]
        groups = {"press": "all", "motor": "all", "tank": "slow"}
        self.box.commit(self.box.telemetry(names, count, noise, groups.__getitem__))

    @rule(count=st.integers(10, 60))
    def commit_until_room_is_short(self, count):
        for _ in range(count):
            self.box.commit(self.box.telemetry(["press"], 1, 24_000))

    @rule(noise=st.sampled_from([0, 3000, 30_000]))
    def commit_prediction(self, noise):
        self.box.commit([self.box.prediction(noise)])

    @rule(noise=st.sampled_from([0, 3000, 30_000]))
    def commit_decision(self, noise):
        self.box.commit([self.box.decision(noise)])

    @rule(count=st.integers(1, 5))
    def declare_shed_readings(self, count):
        numbers = [self.box.number("press") for _ in range(count)]
        self.box.commit(lost=[("press", numbers[0], numbers[-1], "overload")])

    @rule(prio=PRIORITIES, skip=st.integers(0, 3), count=st.integers(1, 30))
    def deliver(self, prio, skip, count):
        """Not always the oldest first: live data overtakes the backlog."""
        rows = self.box.waiting(prio)[skip : skip + count]
        for row in rows:
            self.backend.add_message(decode.decode_row(row.body))
        self.box.deliver(rows)

    @rule(prio=PRIORITIES)
    def deliver_newest(self, prio):
        rows = self.box.outbox.unacked(prio, max(self.box.outbox.newest(prio) - 1, 0), 10)
        for row in rows:
            self.backend.add_message(decode.decode_row(row.body))
        self.box.deliver(rows)

    @rule(prio=st.sampled_from([1, 2]), which=st.integers(0, 5))
    def refuse(self, prio, which):
        rows = self.box.waiting(prio)
        if which < len(rows):
            self.box.outbox.refused((prio, rows[which].id), "payload")

    @rule(prio=PRIORITIES, which=st.integers(0, 5), place=st.floats(0, 1, exclude_max=True))
    def flip_a_bit(self, prio, which, place):
        self.box.commit()
        rows = self.box.waiting(prio)
        if which < len(rows):
            flip(self.box.directory, prio, rows[which].id, place)

    @rule()
    def commit_nothing(self):
        self.box.commit()

    @rule()
    def restart(self):
        self.box.commit()
        self.box.restart()

    @rule()
    def crash(self):
        self.box.commit()
        self.box.crash()

    @rule(quota_bytes=st.sampled_from([MIN_QUOTA, 2 * MIN_QUOTA]))
    def restart_with_another_quota(self, quota_bytes):
        self.box.commit()
        self.box.quota_bytes = quota_bytes
        self.box.restart()

    @precondition(lambda self: self.box.writer.found)
    @invariant()
    def never_moved_aside(self):
        assert self.box.writer.found == "missing"

    @invariant()
    def quota_holds(self):
        """A lowered one is reached by using the file's free pages again, not by a smaller file."""
        self.most_bytes = max(self.most_bytes, self.box.quota_bytes)
        assert self.box.database_bytes <= self.most_bytes

    def teardown(self):
        try:
            self.deliver_all()
            for (stream, epoch), last in self.box.given.items():
                assert list(self.backend.whole(stream, epoch)) == [(0, last)], (stream, epoch)
            for epoch in self.box.epochs:
                ledger = list(self.backend.whole("ledger", epoch))
                assert not ledger or ledger == [(0, ledger[-1][1])]
            assert not self.backend.twice
            assert not self.backend.both()
        finally:
            self.box.close()
            shutil.rmtree(self.root)

    def deliver_all(self):
        for _ in range(3):  # reading damaged rows declares them, which is a row to deliver
            self.box.commit()
            for prio in (2, 1, 0):
                rows = self.box.waiting(prio)
                for row in rows:
                    self.backend.add_message(decode.decode_row(row.body))
                self.box.deliver(rows)
        assert not [row for prio in (0, 1, 2) for row in self.box.waiting(prio)]


def flip(directory, prio, row_id, place):
    """One bit of the stored body, behind the agent's back."""
    db = sqlite3.connect(directory / "store.db", isolation_level=None)
    (body,) = db.execute(f"SELECT body FROM row{prio} WHERE id = ?", (row_id,)).fetchone()
    damaged = bytearray(body)
    damaged[int(place * len(body))] ^= 0x10
    db.execute(f"UPDATE row{prio} SET body = ? WHERE id = ?", (bytes(damaged), row_id))
    db.close()


TestStoreModel = StoreMachine.TestCase
TestStoreModel.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
