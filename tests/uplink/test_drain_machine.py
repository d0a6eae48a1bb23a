"""The drain against random brokers, backends, quotas and clocks: nothing is forgotten, nothing is confirmed early."""

import hypothesis.strategies as st
from doubles.outbox import EPOCH, MemoryOutbox
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.ports import Acked, BackendAck, Down, Refused, Up
from edge_agent.uplink.drain import Drain, Policy

S = 1_000_000_000


REFUSALS = [("quota_exceeded", True), ("not_authorized", True), ("bad", False)]


class CheckedOutbox(MemoryOutbox):
    """Refuses to hear of a delivery that nobody confirmed."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    def delivered(self, rows):
        for key in rows:
            if key not in self.world.dropped:
                assert key[1] in self.rows[key[0]], f"{key} is delivered twice"
                self.world.check_delivered(self.rows[key[0]][key[1]])
        super().delivered(rows)

    def refused(self, row, code):
        assert row in self.world.refusable, f"{row} is given up, and nobody refused it for good"
        super().refused(row, code)


class World(RuleBasedStateMachine):
    """The transport (in flight), the broker (confirmed, may lose it all), the backend (holds segments)."""

    @initialize(backend=st.booleans(), rate=st.sampled_from([None, 3, 50]))
    def start(self, backend, rate):
        self.backend = backend
        self.outbox = CheckedOutbox(self)
        self.drain = Drain(self.outbox, Policy(backend, 10 * S, rate))
        self.now = 0
        self.up = False
        self.window = 0
        self.in_flight = []
        self.at_broker = []
        self.held = {}
        self.acknowledged = {}
        self.confirmed = set()
        self.refusable = set()
        self.committed = set()
        self.dropped = set()
        self.order = {}

    def check_delivered(self, row):
        if self.backend and row.segments:
            for s in row.segments:
                assert set(range(s.first, s.last + 1)) <= self.acknowledged.get(s.stream, set())
        else:
            assert (row.prio, row.id) in self.confirmed

    # the world's moves

    @rule(
        prio=st.sampled_from([0, 1, 2, 2]),
        n=st.integers(1, 3),
        streams=st.integers(0, 2),
        size=st.integers(0, 40_000),
    )
    def commit(self, prio, n, streams, size):
        names = {0: ["alert"], 1: ["infer-a"], 2: ["press", "oven"][:streams]}[prio]
        row = self.outbox.commit(prio, b"x" * size, tuple(names), n)
        self.committed.add((row.prio, row.id))

    @precondition(lambda self: not self.up)
    @rule(window=st.integers(1, 6), wait=st.integers(0, 130))
    def connect(self, window, wait):
        self.now += wait * S
        self.up, self.window = True, window
        self.drain.handle(Up(window), self.now)

    @precondition(lambda self: self.up)
    @rule(broker_dies=st.booleans())
    def disconnect(self, broker_dies):
        self.up = False
        self.at_broker += [] if broker_dies else self.in_flight  # their confirmations are lost on the way
        if broker_dies:
            self.at_broker = []
        self.in_flight = []
        self.drain.handle(Down("gone"), self.now)

    @rule(ms=st.integers(1, 40_000))
    def time_passes(self, ms):
        self.now += ms * 1_000_000

    @precondition(lambda self: self.up)
    @rule(most=st.integers(1, 8))
    def send(self, most):
        self.drain.look(self.now)
        for _ in range(most):
            row = self.drain.next(self.now)
            if row is None:
                return
            key = (row.prio, row.id)
            assert key in self.committed
            assert key not in [(r.prio, r.id) for r in self.in_flight], "sent while it is in flight"
            self.in_flight.append(row)

    @precondition(lambda self: self.up and self.in_flight)
    @rule(data=st.data())
    def broker_confirms(self, data):
        rows = data.draw(st.lists(st.sampled_from(self.in_flight), min_size=1, unique_by=lambda r: (r.prio, r.id)))
        self.in_flight = [r for r in self.in_flight if r not in rows]
        self.at_broker += rows
        keys = tuple((r.prio, r.id) for r in rows)
        self.confirmed.update(keys)
        self.drain.handle(Acked(keys), self.now)

    @precondition(lambda self: self.up and self.in_flight)
    @rule(data=st.data(), verdict=st.sampled_from(REFUSALS))
    def broker_refuses(self, data, verdict):
        row = data.draw(st.sampled_from(self.in_flight))
        code, retry = verdict
        key = (row.prio, row.id)
        self.in_flight.remove(row)
        if not retry:
            self.refusable.add(key)
        self.drain.handle(Refused(key, code, retry), self.now)

    @rule(data=st.data())
    def backend_takes(self, data):
        if not self.at_broker:
            return
        rows = data.draw(st.lists(st.sampled_from(self.at_broker), max_size=4))
        self.at_broker = [r for r in self.at_broker if r not in rows]
        self._hold(rows)

    @precondition(lambda self: self.up)
    @rule(part=st.booleans())
    def backend_acknowledges(self, part):
        have = {}
        for stream, seqs in self.held.items():
            ranges = _ranges(seqs)
            have[stream] = tuple(ranges[: len(ranges) // 2 + 1] if part else ranges)
            for first, last in have[stream]:
                self.acknowledged.setdefault(stream, set()).update(range(first, last + 1))
        self.drain.handle(BackendAck(EPOCH, have), self.now)

    @precondition(lambda self: self.outbox.waiting())
    @rule(data=st.data())
    def quota_drops(self, data):
        rows = [row for rows in self.outbox.rows for row in rows.values()]
        row = data.draw(st.sampled_from(rows))
        self.outbox.drop(row)
        self.dropped.add((row.prio, row.id))

    @invariant()
    def window_holds(self):
        if hasattr(self, "drain"):
            assert len(self.in_flight) <= max(self.window, 0)
            assert self.drain.to_dict(self.now)["in_flight"] == len(self.in_flight) if self.up else True

    def teardown(self):
        """From any state a world that works again gets everything."""
        if not hasattr(self, "drain"):
            return
        if not self.up:
            self.connect(4, 130)
        for _ in range(3000):
            if not self.outbox.waiting():
                break
            self.now += 5 * S
            self.send(50)
            rows, self.in_flight = self.in_flight, []
            self.confirmed.update((r.prio, r.id) for r in rows)
            self._hold([*rows, *self.at_broker])
            self.at_broker = []
            self.drain.handle(Acked(tuple((r.prio, r.id) for r in rows)), self.now)
            self.backend_acknowledges(False)
        assert self.outbox.waiting() == 0, "rows that are never sent"
        assert set(self.outbox.done) | set(self.outbox.dead) | self.dropped == self.committed

    def _hold(self, rows):
        for row in rows:
            for s in row.segments:
                self.held.setdefault(s.stream, set()).update(range(s.first, s.last + 1))


def _ranges(seqs):
    out = []
    for seq in sorted(seqs):
        if out and seq == out[-1][1] + 1:
            out[-1] = (out[-1][0], seq)
        else:
            out.append((seq, seq))
    return out


TestDrainMachine = World.TestCase
TestDrainMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
