"""The composition root: builds every part of a site, starts its threads, and stops them in the order of the flow."""

from __future__ import annotations

import gc
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from edge_agent import __version__, event_log, machine
from edge_agent.actuators.body import ActuatorBody
from edge_agent.api import ApiBody
from edge_agent.assembly import Assembly
from edge_agent.clock import SystemClock
from edge_agent.commands.build import make_intake
from edge_agent.config.site import ActuatorConfig, ModelConfig, SourceConfig, size_bytes
from edge_agent.context import DriverContext
from edge_agent.contract import topics
from edge_agent.contract.channels import HEALTH_PERIOD_S
from edge_agent.contract.published import schema_hashes
from edge_agent.contract.rows import PRIORITIES
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.control import Control, Tally
from edge_agent.decisions import Remembered
from edge_agent.drivers import driver
from edge_agent.durations import parse_duration
from edge_agent.engine import Engine
from edge_agent.errors import ExitCode, Fatal
from edge_agent.expiry import Expiry, certificates_of
from edge_agent.flash import FlashMeter
from edge_agent.health import Health
from edge_agent.heat import Heat
from edge_agent.inbox import Inbox
from edge_agent.inference.lane import Lane, LaneOptions
from edge_agent.inference.manifest import ImageInput
from edge_agent.inference.package import Package
from edge_agent.inference.worker_process import WorkerProcess
from edge_agent.links.registry import Links
from edge_agent.memory import Memory
from edge_agent.narrator import Narrator
from edge_agent.ports import Clock, FieldSpec
from edge_agent.runner import Runner
from edge_agent.source_body import SourceBody
from edge_agent.starts import LIVED_S, Starts
from edge_agent.store.alarms import Alarms
from edge_agent.store.backlog import Backlog
from edge_agent.store.body import Options, StoreBody
from edge_agent.store.opening import open_store
from edge_agent.store.writer import Committed
from edge_agent.supervisor import Supervisor, notify_systemd
from edge_agent.timekeeping import Timekeeper
from edge_agent.types import Alert, Command, Decision, Effect, ImageView, Stamp
from edge_agent.up_documents import health_document, reported_document
from edge_agent.updates import Updates
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.build import make_uplink

log = logging.getLogger("edge_agent")

_SWITCH_S = 1e-4
"""With the default of 5 ms a busy Python thread pushes the p99 of a hop between threads from 2 to 17 ms."""
_TURN_S = 1.0
_INCIDENTS = 20
_HEAT_S = 5.0
_DELIVERY_S = 30.0
"""At the end of a replay: so long without a further delivery means that nobody listens."""


class EventClock:
    """In a replay as fast as possible: the agent's parts live in the engine's time."""

    def __init__(self, real: SystemClock) -> None:
        self.boot = real.boot
        self.runner: Runner | None = None
        self._start = real.now()

    def now(self) -> Stamp:
        return self.runner.now if self.runner and self.runner.handled else self._start

    def mono_ns(self) -> int:
        return time.monotonic_ns()


class Agent:
    """One site, built. `run` returns when it was asked to stop, or with `end_with_input` when all sources ended."""

    def __init__(self, assembly: Assembly, *, record: Path | None = None, end_with_input: bool = False) -> None:
        self.assembly = assembly
        self.site = assembly.site
        self._end_with_input = end_with_input
        self._interrupted = False
        self.health = Health()
        self.inbox = Inbox()
        self.heat = Heat(self.site.agent.hot_c)
        self._heat_due_s = 0.0
        self.clock = SystemClock()
        self.timekeeper = self._build_timekeeper()
        self._unpaced = bool(self.site.source) and all(_unpaced(s) for s in self.site.source)
        self._event_clock = EventClock(self.clock) if self._unpaced else None
        self.news = self.inbox.feed("agent")
        self.supervisor = Supervisor(self.clock, self.health, self.news.offer)
        self._links = Links()
        self._started_s = time.monotonic()
        self._health_due_s = 0.0
        self._incident_asked = threading.Event()
        self._narrator = Narrator(self.health)
        self._record = _recorder(record) if record else None
        with ExitStack() as undo:
            if self._record:
                undo.callback(self._record.discard)
            self._build()
            undo.pop_all()

    # -- building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._specs: dict[str, StreamSpec] = {}
        self._source_of = {source.name: source.name for source in self.site.source}
        for name, fields in self.assembly.fields.items():
            self._source_of |= {path.rpartition(".")[0]: name for path in fields if "." in path}
        self._build_store()
        self.starts = Starts(Path(self.site.agent.data_dir) / "starts.json", self.clock)
        report = self.supervisor.report
        self._memory = Memory(Path(self.site.agent.data_dir) / "rules.json", partial(report, "memory", alert=True))
        before = self._memory.read()
        self.engine = Engine(self.assembly.plan, epoch=self.writer.epoch, before=before)
        self.lanes = self._build_lanes()
        self.actuators = {a.name: self._actuator(a) for a in self.site.actuator}
        self.sources = {s.name: self._source(s) for s in self.site.source}
        self._build_logs(before)
        self.runner = Runner(
            self.engine, self.inbox, self.clock, keep=self._keep, actuators=self.actuators, lanes=self.lanes,
            sinks=self._sinks, watch=self._watch, unpaced=self._unpaced,
        )  # fmt: skip
        if self._event_clock:
            self._event_clock.runner = self.runner
            self.runner.begin_at(self.clock.now())
        self.updates = Updates(self.site, self._links, self.engine, clock=self.clock, post=self.news.offer)
        self.expiry = Expiry(tuple(certificates_of(self.site)), self.health, self.news.offer)
        self.control = Control(self)
        self.commands = make_intake(
            self.site, clock=self.clock, utc_ms=self.timekeeper.utc_ms, execute=self.control.remote,
            health=self.health.part("commands"), tell_desired=self._report,
            report=partial(self.supervisor.report, "commands", alert=True), store=lambda: self.writer.store,
            unkept=lambda: self._memory.unkept or self.store.failing,
        )  # fmt: skip
        self.uplink = self._build_uplink()
        self.api = ApiBody(Path(self.site.agent.run_dir) / "agent.sock", self.control.verbs(), self.clock)

    def _build_timekeeper(self) -> Timekeeper:
        agent = self.site.agent
        return Timekeeper(self.clock, Path(agent.data_dir) / "clock.json", agent.clock)

    def _build_store(self) -> None:
        agent, store = self.site.agent, self.site.store
        run_dir = Path(agent.run_dir)
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.writer = open_store(
            Path(agent.data_dir) / "store", gateway=agent.gateway, quota_bytes=size_bytes(store.quota),
            clock=self.clock, witness=run_dir / "store.last",
        )  # fmt: skip
        options = Options(
            commit_interval_ns=parse_duration(store.commit_interval), row_limit_bytes=size_bytes(store.row_limit)
        )
        self.store = StoreBody(
            self.writer, clock=self.clock, describe=self._describe, options=options,
            on_health=partial(self.supervisor.report, "store"),
        )  # fmt: skip
        self._alarms = Alarms(self.writer.path, self.store, partial(self.supervisor.report, alert=True))
        self.backlog = Backlog(self.writer, self.clock)
        self.flash = FlashMeter(self.writer.path.parent, self.clock, card_tbw=store.card_tbw)
        self.store.on_commit += [self._committed, self.backlog.committed]
        self.store.on_interval += [self._alarms.turn, self._look]
        self.committed = Tally()

    def _build_lanes(self) -> dict[str, Lane]:
        memory_mb: dict[str, int] = {}
        for model in self.site.model:
            memory_mb[_worker(model)] = max(memory_mb.get(_worker(model), 0), model.memory_mb)
        spawner = self.supervisor.spawner
        workers = {name: WorkerProcess(spawner=spawner, memory_mb=most) for name, most in memory_mb.items()}
        return {model.name: self._lane(model, workers[_worker(model)]) for model in self.site.model}

    def _lane(self, model: ModelConfig, worker: WorkerProcess) -> Lane:
        package = self.assembly.packages[model.name]
        manifest = package.manifest
        options = LaneOptions(
            model.policy or manifest.policy, model.deadline_ms or manifest.deadline_ms,
            model.threads or manifest.threads, model.providers, model.delegate or "", max_rate_hz=model.max_rate_hz,
        )  # fmt: skip
        views = self._views(model.input) if isinstance(model.input, str) else ()
        view = _view(package)
        lane = Lane(
            model.name, package, options, worker=worker, clock=self._time(),
            post=self.inbox.feed(f"lane:{model.name}", limit=1_000_000).offer,
            counters=self.health.part(f"lane:{model.name}"), view_index=views.index(view) if view else 0,
        )  # fmt: skip
        if self.starts.safe_mode:
            lane.stand_down(LIVED_S, "safe mode")
        return lane

    def _views(self, camera: str) -> tuple[ImageView, ...]:
        """What all lanes of a camera ask of it, each view once."""
        asked = [_view(self.assembly.packages[m.name]) for m in self.site.model if m.input == camera]
        return tuple(dict.fromkeys(view for view in asked if view))

    def _source(self, config: SourceConfig) -> SourceBody:
        inbox = self.inbox
        feed = inbox.recorded_feed(config.name) if self._unpaced else inbox.feed(config.name, rate_hz=config.max_rate)
        part = self.health.part(config.name)
        context = DriverContext(
            config.name, self._time(), part, self.supervisor.spawner, self._links,
            self.assembly.fields[config.name], self._views(config.name),
            self.writer.cursors.get(config.name), self._announced,
        )  # fmt: skip
        opener = partial(driver("source", config.kind).open, config.driver, context)
        takers = [self.lanes[m.name] for m in self.site.model if m.input == config.name]
        return SourceBody(
            config.name, opener=opener, feed=feed, takers=takers, clock=self._time(), health=part,
            unpaced=self._unpaced, heat=self.heat,
        )  # fmt: skip

    def _actuator(self, config: ActuatorConfig) -> ActuatorBody:
        part = self.health.part(config.name)
        context = DriverContext(config.name, self.clock, part, self.supervisor.spawner, self._links)
        return ActuatorBody(
            config.name, opener=partial(driver("actuator", config.kind).open, config.driver, context),
            deadline_s=parse_duration(config.deadline) / 1e9, clock=self.clock, health=part,
            post=self.inbox.feed(f"actuator:{config.name}").offer,
        )  # fmt: skip

    def _build_logs(self, before: Remembered) -> None:
        head = partial(
            event_log.header, epoch=self.writer.epoch, boot=self.clock.boot, site_sha256=self.assembly.sha256,
            version=__version__, before=before,
        )  # fmt: skip
        size = self.site.agent.event_log_mb * 1_000_000
        self._ring = event_log.Ring(Path(self.site.agent.run_dir) / "events", head(whole=False), size)
        if self._record:
            self._record.begin(head(whole=True))
        self._sinks = [event_log.Tolerant(sink) for sink in (self._ring, self._record) if sink]

    def _build_uplink(self) -> UplinkBody | None:
        keeper = self.timekeeper
        self._outbox = self.store.outbox(offset_ms=keeper.offset_ms, floor_ms=keeper.floor_ms)
        return make_uplink(
            self.site, self.writer.epoch, self.writer.start_no, self._outbox, clock=self.clock,
            health=self.health.part("uplink"), post=self.inbox.feed("uplink").offer, inbound=self.commands.take,
            rng=random.Random(), schemas=schema_hashes(), replies=self.commands.replies,  # noqa: S311 - jitter
        )  # fmt: skip

    def _time(self) -> Clock:
        return self._event_clock or self.clock

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises the Fatal error that ended it, if one did."""
        sys.setswitchinterval(_SWITCH_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._interrupt())
        self.starts.begin()
        try:
            self._start()
            # a collection of all that was imported and built would hold every thread for 15 ms
            gc.freeze()
            self.supervisor.serve(_TURN_S, self._on_turn)
        finally:
            self._stop()
        if self.supervisor.fatal:
            raise self.supervisor.fatal
        self.starts.close()

    def _interrupt(self) -> None:
        self._interrupted = True
        self.supervisor.ask_stop()

    def _start(self) -> None:
        supervisor = self.supervisor
        supervisor.start(self.store)
        supervisor.start(self.runner, fatal=True)
        for lane in self.lanes.values():
            supervisor.start(lane)
        for actuator in self.actuators.values():
            supervisor.start(actuator)
        if self.uplink:
            self._report()
            supervisor.start(self.uplink)
        supervisor.start(self.api)
        if self.site.mcu:
            supervisor.start(self.updates)
        for source in self.sources.values():
            supervisor.start(source)
        sources = ", ".join(self.sources) or "none"
        log.info("%s started, epoch %s; sources: %s", self.site.agent.gateway, self.writer.epoch, sources)
        if self.writer.found not in ("", "missing"):
            self.health.part("store").note("set_aside", self.writer.found)
            log.warning("the database could not be used (%s): it was moved aside, a new one begun", self.writer.found)
        if self.starts.safe_mode:
            log.warning("safe mode: %s", self.starts.safe_mode)
        notify_systemd("READY=1")

    def _on_turn(self) -> None:
        now = time.monotonic()
        self.timekeeper.turn(self.store.put, partial(self.supervisor.report, "clock", alert=True))
        self.starts.turn(partial(self.supervisor.report, "safe_mode", alert=True))
        if now >= self._heat_due_s:
            self._heat_due_s = now + _HEAT_S
            self._feel()
        self._narrator.tell()
        if self.uplink and now >= self._health_due_s:
            self._health_due_s = now + HEALTH_PERIOD_S
            document = health_document(self, self.control.trouble(), self.control.uptime_s())
            self.uplink.publish_latest(topics.HEALTH, msgspec.json.encode(document))
        for sink in self._sinks:
            if sink.failing:
                self.supervisor.report("event_log", False, sink.failing)
        if self._end_with_input and all(source.ended.is_set() for source in self.sources.values()):
            self.supervisor.ask_stop()

    def _feel(self) -> None:
        self.heat.feel(machine.temperature_c(), time.monotonic_ns())
        why, part = self.heat.words(), self.health.part("heat")
        part.note("one_frame_in", self.heat.one_in)
        if why or part.up is False:
            self.supervisor.report("heat", not why, why, alert=True)

    def _stop(self) -> None:
        """Upstream first: what is accepted still goes all the way to the disk."""
        notify_systemd("STOPPING=1")
        stop = self.supervisor.stop
        left = stop([s.name for s in self.sources.values()])
        if self._end_with_input:
            self._settle()
        left += stop([*(lane.name for lane in self.lanes.values()), self.runner.name])
        left += stop([a.name for a in self.actuators.values()])
        self.store.flush(5.0)
        self.timekeeper.close()
        left += stop(["uplink", "api", self.updates.name, "store"])
        if not {"uplink", "store"} & set(left):
            self._outbox.close()
            self.writer.close()
        self._narrator.tell()
        if left:
            log.warning("did not stop in time: %s", ", ".join(left))
        log.info("stopped after %d readings", self.committed.readings)

    def _settle(self) -> None:
        """The end of a replay: lanes answer what they have, and what is committed is delivered while that works.

        Who asks for a stop, also now, has it at once.
        """
        while self._busy() and not self.supervisor.fatal and not self._interrupted:
            self.supervisor.spawner.serve(0.05)
        if not self._interrupted:
            self.store.flush(30.0)
        waiting, end_s = self._waiting(), time.monotonic() + _DELIVERY_S
        while self.uplink and waiting and time.monotonic() < end_s and not self._interrupted:
            self.supervisor.spawner.serve(0.05)
            if (now := self._waiting()) != waiting:
                waiting, end_s = now, time.monotonic() + _DELIVERY_S
        if waiting:
            then = "the next start delivers them" if self.uplink else "this site has no uplink that delivers them"
            log.warning("ended with undelivered rows; they are kept, and %s", then)

    def _waiting(self) -> list[list[tuple[int, int]]]:
        """Ranges of rows that nobody has confirmed, by priority; empty when all are delivered."""
        ranges = [self.writer.outgoing.waiting(prio) for prio in PRIORITIES]
        return ranges if any(ranges) else []

    def _busy(self) -> bool:
        return any(feed.pending for feed in self.inbox.feeds()) or any(lane.busy for lane in self.lanes.values())

    # -- what other threads report ---------------------------------------------------------------------------------

    def _keep(self, effects: list[Effect]) -> None:
        """The engine's thread. A replay waits for the store; live, the store sheds and declares."""
        while self._unpaced and not self.store.wait_room(1.0):
            self.runner.progress_ns = self.clock.mono_ns()
        self.store.put(effects)

    def _committed(self, committed: Committed) -> None:
        """The store's thread, after each COMMIT."""
        self.committed.add(committed)
        commanded = self.commands.handled()
        self._memory.write(self.engine.remember())
        self.commands.kept(commanded)
        self.timekeeper.keep(partial(self.supervisor.report, "memory.clock", alert=True))
        if self._incident_asked.is_set():
            self._incident_asked.clear()
            self._freeze()
        for stream, cursor in committed.cursors.items():
            source = self._source_of.get(stream)
            if source is not None:
                self.sources[source].ack(cursor)
        if self.uplink:
            self.uplink.wake()

    def _look(self) -> None:
        """The store's thread, which alone may wait for a disk, once an interval."""
        self.starts.keep()
        now = self.clock.now()
        self.expiry.look(now, self.timekeeper.known_ms(now))

    def _describe(self, stream: str) -> StreamSpec:
        """Units and group of a stream, from the source that has it."""
        spec = self._specs.get(stream)
        if spec is None:
            spec = self._specs[stream] = self._spec(stream, {})
        return spec

    def _announced(self, source: str, fields: Mapping[str, FieldSpec]) -> None:
        """The source's thread: what a device says of itself holds, also against the site file."""
        self._specs[source] = self._spec(source, {name: spec.unit for name, spec in fields.items() if spec.unit})

    def _spec(self, stream: str, told: dict[str, str]) -> StreamSpec:
        source = self._source_of.get(stream)
        if source is None:
            return StreamSpec()
        group = next(s.group for s in self.site.source if s.name == source)
        units: dict[str, str] = {}
        for path, spec in self.assembly.fields[source].items():
            owner, _, name = path.rpartition(".")
            if spec.unit and (owner or source) == stream:
                units[name] = spec.unit
        return StreamSpec(group, units | told)

    def _report(self, desired_refused: str = "") -> None:
        """What runs here, for the broker to keep."""
        if self.uplink:
            document = reported_document(self, desired_refused)
            self.uplink.publish_latest(topics.REPORTED, msgspec.json.encode(document))

    def _watch(self, item: Decision | Alert | Command) -> None:
        """The engine's thread: must be quick."""
        if isinstance(item, Command):
            if item.id:
                self.commands.carried_out(item.id)
            return
        if self._record:
            self._record.decided(item)
        if isinstance(item, Alert):
            self._narrator.hear(item)
            if item.state == "raised":
                self._incident_asked.set()

    def _freeze(self) -> None:
        """On the store's thread, after the commit: only it may wait for the disk."""
        folder = Path(self.site.agent.data_dir) / "incidents"
        try:
            folder.mkdir(exist_ok=True)
            self._ring.freeze(folder / f"{time.time_ns() // 1_000_000:015d}.events")
            for old in sorted(folder.glob("*.events"))[:-_INCIDENTS]:
                old.unlink()
        except OSError as e:
            self.health.part("store").note("incident_not_kept", e.strerror or str(e))


def _worker(model: ModelConfig) -> str:
    """Models that name the same worker share one; a space keeps the others out of their names."""
    return model.worker or f"lane {model.name}"


def _unpaced(source: SourceConfig) -> bool:
    return getattr(source.driver, "speed", 1.0) == "max"


def _view(package: Package) -> ImageView | None:
    takes = package.manifest.input
    return takes.image_view() if isinstance(takes, ImageInput) else None


def _recorder(path: Path) -> event_log.Recorder:
    """Before anything else is opened. Raises Fatal."""
    try:
        return event_log.Recorder(path)
    except OSError as e:
        hint = "give the name of a new file, in a folder where the agent may write"
        raise Fatal(f"--record: {path}: {e.strerror}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e
