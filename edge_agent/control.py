"""What people and programs may ask of a running agent: the verbs of the control socket, and the status document."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from edge_agent import __version__
from edge_agent.actuators.body import ActuatorBody
from edge_agent.api import Caller, Refusal, Verb
from edge_agent.assembly import Assembly
from edge_agent.clock import SystemClock
from edge_agent.config.nearest import did_you_mean
from edge_agent.decisions import Hold
from edge_agent.durations import LONGEST_HOLD_NS
from edge_agent.engine import Engine
from edge_agent.expiry import Expiry
from edge_agent.flash import FlashMeter
from edge_agent.health import Health
from edge_agent.inbox import Feed, Inbox
from edge_agent.inference.lane import Lane
from edge_agent.lane_state import FULL
from edge_agent.runner import Runner
from edge_agent.source_body import SourceBody
from edge_agent.starts import Starts
from edge_agent.store.backlog import Backlog
from edge_agent.store.body import StoreBody
from edge_agent.store.inspection import bytes_of, wal_of
from edge_agent.store.writer import Committed, Writer
from edge_agent.supervisor import Supervisor
from edge_agent.timekeeping import Timekeeper
from edge_agent.types import Alert, ClockQuality, Command, Stamp, Value
from edge_agent.updates import Updates
from edge_agent.uplink.body import UplinkBody

_COMMANDS = {"reset": ("rule",), "hold": ("rule", "for_s", "why"), "release": ("rule",), "ack": ("alert",)}
_MAX_WHY = 200


class Observed(Protocol):
    """The parts of an agent that people may look at; `Agent` has them."""

    assembly: Assembly
    clock: SystemClock
    inbox: Inbox
    news: Feed
    health: Health
    supervisor: Supervisor
    engine: Engine
    runner: Runner
    writer: Writer
    store: StoreBody
    uplink: UplinkBody | None
    lanes: dict[str, Lane]
    sources: dict[str, SourceBody]
    actuators: dict[str, ActuatorBody]
    committed: Tally
    backlog: Backlog
    expiry: Expiry
    flash: FlashMeter
    timekeeper: Timekeeper
    starts: Starts
    updates: Updates


class Tally:
    """What has been committed since the start."""

    def __init__(self) -> None:
        self.commits = self.rows = self.readings = self.body_bytes = 0
        self.newest: tuple[int, ...] = ()
        self.lost: dict[str, int] = {}
        """By reason: numbers declared as gaps."""

    def add(self, committed: Committed) -> None:
        self.commits += 1
        self.rows += committed.rows
        self.readings += committed.readings
        self.body_bytes += committed.body_bytes
        self.newest = committed.newest
        if committed.lost:
            reasons = self.lost.keys() | committed.lost.keys()
            self.lost = {r: self.lost.get(r, 0) + committed.lost.get(r, 0) for r in reasons}


class Control:
    """Reads the parts of an agent; asks the engine through its inbox, never directly."""

    def __init__(self, agent: Observed) -> None:
        self._agent = agent
        self._started_s = time.monotonic()

    def verbs(self) -> dict[str, Verb]:
        return {
            "status": lambda _, __: self.status(),
            "ping": lambda _, __: {"version": __version__},
            "latency": lambda _, __: {"counts": self._agent.runner.latency.counts()},
            **{name: self._commander(name) for name in _COMMANDS},
            **self._agent.updates.verbs(),
        }

    def _commander(self, name: str) -> Verb:
        def command(caller: Caller, args: Mapping[str, Any]) -> object:
            if not caller.operator:
                raise Refusal("forbidden", f"{name} needs an operator: root, or a member of the socket's group")
            self._command(name, args, f"uid {caller.uid}")
            return {"accepted": name}

        return command

    def remote(self, name: str, args: Mapping[str, Any], by: str, command_id: str) -> None:
        """A command of the contract, from whoever was found to be `by`. Raises Refusal."""
        if not all(isinstance(value, str | int | float) for value in args.values()):
            raise Refusal("bad_args", "arguments are texts, numbers, true or false")
        self._command(name.rpartition(".")[2], args, by, command_id)

    def _command(self, name: str, args: Mapping[str, Any], by: str, command_id: str = "") -> None:
        self._check(name, args)
        self._agent.news.offer([Command(name, dict(args), by, self._agent.clock.now(), command_id)])

    def _check(self, name: str, args: Mapping[str, Value]) -> None:
        unknown = set(args) - set(_COMMANDS[name])
        if unknown:
            raise Refusal("bad_args", f"{name} takes {', '.join(_COMMANDS[name])}, not {', '.join(sorted(unknown))}")
        if name == "ack":
            if args.get("alert") not in {a.alert_id for a in self._agent.engine.raised()}:
                raise Refusal("unknown_alert", f"no raised alert {args.get('alert')!r}")
            return
        self._check_rule(name, args.get("rule"))
        why = args.get("why", "")
        if not isinstance(why, str) or len(why) > _MAX_WHY:
            raise Refusal("bad_args", f"why is a text of at most {_MAX_WHY} characters")
        for_s = args.get("for_s", 1)
        longest_s = LONGEST_HOLD_NS // 10**9
        if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 < for_s <= longest_s:
            raise Refusal("bad_args", f"for_s is a number of seconds up to {longest_s}")

    def _check_rule(self, name: str, rule: object) -> None:
        engine = self._agent.engine
        phase = engine.phases().get(rule) if isinstance(rule, str) else None
        if phase is None:
            meant = did_you_mean(rule, engine.phases()) if isinstance(rule, str) else ""
            raise Refusal("unknown_rule", f"no rule {rule!r}" + (meant and f": {meant}"))
        if name == "reset" and phase != "latched":
            raise Refusal("not_latched", f"{rule} is {phase}: only a latched rule can be reset")
        if name == "release" and rule not in engine.holds():
            raise Refusal("not_held", f"nobody holds {rule}")

    def status(self) -> dict[str, Any]:
        """Verdict first; ages, not instants."""
        agent = self._agent
        now = agent.clock.now()
        acked = agent.engine.acked()
        alerts = [_alert(a, acked.get(a.alert_id, ""), now) for a in agent.engine.raised()]
        trouble = self.trouble()
        return {
            "ok": not trouble,
            "trouble": trouble,
            "gateway": agent.assembly.site.agent.gateway,
            "version": __version__,
            "epoch": agent.writer.epoch,
            "start_no": agent.writer.start_no,
            "uptime_s": self.uptime_s(),
            "clock": "synced" if now.quality is ClockQuality.SYNCED else "guessed",
            "time": agent.timekeeper.to_dict(),
            "rung": agent.engine.rung,
            "safe_mode": agent.starts.safe_mode,
            "rules": agent.engine.phases(),
            "holds": {rule: _hold(hold, now.mono_ns) for rule, hold in agent.engine.holds().items()},
            "alerts": alerts,
            "engine": {
                "handled": agent.runner.handled,
                "latency": agent.runner.latency.to_dict(),
                "shed": agent.inbox.shed(),
            },
            "lanes": [self._lane(name, now.mono_ns) for name in agent.lanes],
            "sources": [agent.health.part(name).to_dict(now.mono_ns) for name in agent.sources],
            "actuators": [agent.health.part(name).to_dict(now.mono_ns) for name in agent.actuators],
            "mcus": agent.updates.to_list(),
            "store": self._store(),
            "uplink": self._uplink(now.mono_ns),
            "certificates": agent.expiry.to_list(agent.timekeeper.known_ms(now)),
            "parked": agent.supervisor.parked(),
        }

    def uptime_s(self) -> float:
        return round(time.monotonic() - self._started_s, 1)

    def _lane(self, name: str, mono_ns: int) -> dict[str, Any]:
        agent = self._agent
        state = agent.engine.lanes()[name]
        manifest = agent.assembly.packages[name].manifest
        return {
            **agent.health.part(f"lane:{name}").to_dict(mono_ns),
            "name": name,
            "trust": state.trust,
            "fresh": state.fresh,
            "model": f"{manifest.name} {manifest.version}",
            "latency": agent.lanes[name].latency.to_dict(),
        }

    def _store(self) -> dict[str, Any]:
        agent = self._agent
        tally = agent.committed
        path = agent.writer.path
        wal = bytes_of(wal_of(path))
        return {
            "failing": agent.store.failing,
            "commits": tally.commits,
            "rows": tally.rows,
            "readings": tally.readings,
            "body_bytes": tally.body_bytes,
            "newest": list(tally.newest),
            "file_bytes": bytes_of(path) + wal,
            "wal_bytes": wal,
            "quota_bytes": agent.writer.limits.quota_bytes,
            "backlog": agent.backlog.to_dict(),
            "flash": agent.flash.to_dict(),
        }

    def _uplink(self, mono_ns: int) -> dict[str, Any]:
        if self._agent.uplink is None:
            return {"connected": False, "reason": "no uplink"}
        part, state = self._agent.health.part("uplink").to_dict(mono_ns), self._agent.uplink.to_dict()
        return {**part, **state, "reason": state["reason"] or part.get("reason", "")}

    def trouble(self) -> list[str]:
        """What is not as it should be, in words, worst first."""
        agent = self._agent
        trouble = [f"{name} was parked after repeated bugs" for name in agent.supervisor.parked()]
        if agent.engine.rung != FULL:
            poor = [f"{n} {lane.trust}" for n, lane in agent.engine.lanes().items() if lane.trust != "trusted"]
            trouble.append(f"rung {agent.engine.rung}: {', '.join(poor)}")
        for part in agent.health.parts():
            if part.up is False:
                trouble.append(f"{part.name}: {part.reason or 'down'}")
        return trouble


def _hold(hold: Hold, mono_ns: int) -> dict[str, Any]:
    return {"by": hold.by, "why": hold.why, "left_s": round((hold.until_ns - mono_ns) / 1e9, 1)}


def _alert(alert: Alert, acked_by: str, now: Stamp) -> dict[str, Any]:
    age_ns = alert.stamp.age_ns(now)
    return {
        "alert_id": alert.alert_id,
        "dedupe_key": alert.dedupe_key,
        "severity": alert.severity,
        "text": alert.text,
        "acked_by": acked_by,
        "age_s": None if age_ns is None else round(age_ns / 1e9, 1),
    }
