"""Whatever is done to a box's clock, in any order: a time that goes out as right is right, and none is invented."""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from edge_agent.clock import TOLERANCE_NS, FakeClock
from edge_agent.clock_watch import Kernel
from edge_agent.contract import decode
from edge_agent.contract.messages import Tele, TimeFix
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.store.gaps import GapSet
from edge_agent.store.opening import open_store
from edge_agent.store.outbox import Outbox
from edge_agent.timekeeping import Timekeeper
from edge_agent.types import Reading, Record
from tests.clocks.scene import NOW_S, RELEASED_S

S = 10**9


class World(RuleBasedStateMachine):
    """`true_ns` is UTC as it truly is; a time service sets the clock to it and vouches, a person sets it anyhow."""

    @initialize(wall_s=st.sampled_from([0.0, NOW_S - 86_400, NOW_S + 40_000_000]))
    def start(self, wall_s):
        self.folder = Path(tempfile.mkdtemp())
        self.true_ns = int(NOW_S * S)
        self.boots = 0
        self.vouched = set()
        self.offsets = {}
        self.fixes = {}
        self.rows = []
        self._boot(wall_s)

    def _boot(self, wall_s):
        self.boots += 1
        self.clock = FakeClock(mono_ns=7 * S, wall_ns=int(wall_s * S), boot=f"boot-{self.boots}")
        self.offsets[self.clock.boot] = self.true_ns - 7 * S
        self.synced = False
        self._start_agent()

    def _start_agent(self):
        self.keeper = Timekeeper(
            self.clock, self.folder / "clock.json", "ntp", kernel=lambda: Kernel(self.synced, 25),
            released_s=RELEASED_S,
        )  # fmt: skip
        self.writer = open_store(self.folder / "store", gateway="gw1", quota_bytes=4_000_000, clock=self.clock)
        self.outbox = Outbox(
            self.writer.path, self.writer.outgoing, offset_ms=self.keeper.offset_ms, floor_ms=self.keeper.floor_ms
        )
        self.seq = 0

    def _stop_agent(self):
        self.outbox.close()
        self.writer.close()

    @rule(seconds=st.floats(0.1, 5.0))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        self.true_ns += round(seconds * 1e9)

    @rule()
    def look(self):
        self.keeper.turn(lambda fixes: [self.writer.fix_time(f) for f in fixes], lambda up, reason: None)
        self.keeper.keep()
        self.writer.commit([], GapSet())

    @rule()
    def the_time_service_sets_the_clock(self):
        self.clock.step_wall((self.true_ns - self.clock.now().wall_ns) / 1e9)
        self.synced = True
        self.vouched.add(self.clock.boot)

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, -1.0, 1.0, 3600.0, 31_536_000.0]))
    def somebody_sets_the_clock(self, seconds):
        self.clock.step_wall(seconds)
        self.synced = False

    @rule(n=st.integers(1, 3))
    def readings(self, n):
        rows = TeleBuilder("gw1", self.writer.epoch, describe=lambda _: StreamSpec(), limit_bytes=90_000)
        for _ in range(n):
            rows.append(Record(self.seq, Reading("press", self.clock.now(), {"temp": 20.5})))
            self.seq += 1
        drafts, _ = rows.close()
        self.writer.commit(drafts, GapSet())

    @rule()
    def restart_of_the_agent(self):
        self._stop_agent()
        self._start_agent()

    @rule(wall_s=st.sampled_from([0.0, NOW_S - 86_400, NOW_S + 40_000_000]))
    def reboot(self, wall_s):
        self._stop_agent()
        self.true_ns += 60 * S
        self._boot(wall_s)

    @rule()
    def deliver(self):
        for prio in (0, 2):
            for row in self.outbox.unacked(prio, 0, 1000):
                entry = decode.decode_row(row.body)
                if isinstance(entry, TimeFix):
                    self.fixes[entry.boot] = entry.offset_ms
                elif isinstance(entry, Tele):
                    self.rows.append(entry)
                    self._check(entry)
                self.outbox.delivered([(row.prio, row.id)])
        self.writer.commit([], GapSet())

    def _check(self, row):
        true_ms = row.m0 + self.offsets[row.boot] / 1e6
        if row.tq == "synced":
            assert row.boot in self.vouched
            assert abs(row.t0 - true_ms) <= TOLERANCE_NS / 1e6 + 2
        assert row.t0 is None or row.t0 >= RELEASED_S * 1000

    def teardown(self):
        if not hasattr(self, "keeper"):
            return
        self.look()
        self.deliver()
        self._stop_agent()
        shutil.rmtree(self.folder)
        for row in self.rows:
            if row.boot in self.fixes and row.tq != "synced":
                assert abs(row.m0 + self.fixes[row.boot] - row.m0 - self.offsets[row.boot] / 1e6) <= 52
        assert set(self.fixes) <= self.vouched, "a boot that nobody vouched for has no time fix"


TestAnyOrder = World.TestCase
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
