"""A box whose wall clock a test sets at will: the real engine, store, timekeeper and uplink on one FakeClock."""

import threading

from demo_backend import DemoBackend
from doubles.outbox import EPOCH
from running import Running

from edge_agent.clock import FakeClock
from edge_agent.clock_watch import Kernel
from edge_agent.config.site import ActionConfig, RuleConfig, SignalConfig
from edge_agent.contract import decode
from edge_agent.contract.messages import Alerted, Decided, Tele, TimeFix
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.engine import Engine
from edge_agent.plan import make_plan
from edge_agent.store.body import Options, StoreBody
from edge_agent.store.opening import open_store
from edge_agent.timekeeping import Timekeeper
from edge_agent.types import Act, HealthChange, Infer, Reading, Tick
from tests.engine.sites import FIELDS, LANES, site

HOUR_S, YEAR_S = 3600.0, 31_536_000.0
NOW_S = 1_800_000_000.0
RELEASED_S = 1_795_000_000
RULES = (
    RuleConfig(
        id="hot", when="motor.temp_5s > 60", for_="2s", clear="motor.temp_5s < 50",
        actions=(ActionConfig(set="press.relay", value=0, else_value=1),),
    ),
    RuleConfig(id="gone", when="motor.silent", otherwise="false"),
)  # fmt: skip
SIGNALS = (
    SignalConfig(name="motor.temp_5s", of="motor.temp", fn="mean", window="5s"),
    SignalConfig(name="motor.silent", of="motor.temp", fn="absent", window="3s"),
)
PERIOD_S, SILENCE_S = 20, 5
"""The motor's temperature swings; at the end of each swing it says nothing for a while."""


def new_engine(epoch):
    plan, _ = make_plan(site(*RULES, signals=SIGNALS), FIELDS, LANES)
    return Engine(plan, epoch=epoch)


def motor_says(ds):
    """The reading at this tenth of a second since the boot, None in the silences."""
    at = ds / 10 % PERIOD_S
    return None if at > PERIOD_S - SILENCE_S else {"temp": 80.0 if at > PERIOD_S / 3 else 30.0}


class Scene:
    """`play` lives so many seconds; `effects` is all that the engine gave, `reports` what people were told."""

    def __init__(self, folder, *, vouching="ntp", wall_s=0.0, boot="boot-a", mono_s=100.0, port=None):
        self.clock = FakeClock(mono_ns=int(mono_s * 1e9), wall_ns=int(wall_s * 1e9), boot=boot)
        self.synced = False
        self.keeper = Timekeeper(
            self.clock, folder / "clock.json", vouching, kernel=lambda: Kernel(self.synced, 25), released_s=RELEASED_S
        )
        self.writer = open_store(folder / "store", gateway="gw1", quota_bytes=64_000_000, clock=self.clock)
        options = Options(commit_interval_ns=10**9, first_interval_ns=10**9)
        self.store = StoreBody(self.writer, clock=self.clock, describe=lambda _: StreamSpec(), options=options)
        self.store.on_commit.append(lambda _: self.keeper.keep())
        self.store_thread = threading.Thread(target=self.store.run, daemon=True)
        self.store_thread.start()
        self.engine = new_engine(self.writer.epoch)
        self.effects, self.reports = [], []
        self.outbox = self.store.outbox(offset_ms=self.keeper.offset_ms, floor_ms=self.keeper.floor_ms)
        self.uplink = None
        self.port = port

    def connect(self):
        self.uplink = Running(self.port, outbox=self.outbox, epoch=self.writer.epoch)
        self.store.on_commit.append(lambda _: self.uplink.body.wake())
        self.uplink.thread.start()

    def play(self, seconds):
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            now = self.clock.now()
            while self.engine.next_deadline() <= now.mono_ns:
                self._handle(Tick(now))
            values = motor_says(now.mono_ns // 100_000_000)
            if values is not None:
                self._handle(Reading("motor", now, values))
            if now.mono_ns // 100_000_000 % 10 == 0:
                self.keeper.turn(self.store.put, self._report)
        assert self.store.flush(10)

    def set_wall(self, wall_s, *, by_time_service=False):
        """As date(1) does it: the kernel forgets that the clock was synchronised, until the time service says so."""
        self.synced = by_time_service
        self.clock.step_wall(wall_s - self.clock.now().wall_ns / 1e9)

    def step(self, seconds):
        self.synced = False
        self.clock.step_wall(seconds)

    def close(self):
        if self.uplink:
            self.uplink.body.stop()
            self.uplink.thread.join(10)
        self.keeper.close()
        self.store.stop()
        self.store_thread.join(10)
        self.outbox.close()
        self.writer.close()

    def _report(self, up, reason):
        self.reports.append((up, reason))
        self._handle(HealthChange("clock", up, self.clock.now(), reason, alert=True))

    def _handle(self, event):
        effects = self.engine.handle(event)
        self.effects += effects
        self.store.put([e for e in effects if not isinstance(e, Act | Infer)])


class Subscriber(DemoBackend):
    """Keeps what it was told of time: (stream, epoch, seq) to UTC in ms, by the rows and then by the time fixes."""

    def __init__(self, port):
        super().__init__(port, on_row=self._row)
        self.fixes = {}
        self.told = {}

    def received_ledger(self, epoch):
        """How many entries of the ledger of this epoch came."""
        with self._lock:
            return sum(len(r) for (_, of, name), r in self._tally.received.items() if (of, name) == (epoch, "ledger"))

    def times_ms(self):
        """By key: (UTC in ms or None, monotonic ms, boot), as the contract says to read them."""
        out = {}
        for key, (t, m, tq, boot) in self.told.items():
            fix = self.fixes.get(boot)
            out[key] = (t if tq == "synced" or fix is None else m + fix, m, boot)
        return out

    def _row(self, row):
        if isinstance(row, TimeFix):
            self.fixes[row.boot] = row.offset_ms
        elif isinstance(row, Tele):
            for s in decode.samples(row):
                self.told.setdefault((s.stream, s.epoch, s.seq), (s.t, s.m, row.tq, row.boot))
        elif isinstance(row, Decided | Alerted):
            self.told.setdefault((row.stream, row.epoch, row.seq), (row.t, row.m, row.tq, row.boot))


__all__ = ["EPOCH", "Scene", "Subscriber"]
