"""From a site file to what the engine runs: every signal in a slot, every window, every rule compiled.

All problems of a site come in one go. The plan is frozen; the engine adds the state.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from edge_agent.config.site import RuleConfig, SignalConfig, SiteConfig
from edge_agent.durations import Window, parse_duration
from edge_agent.errors import EdgeError
from edge_agent.ports import FieldSpec
from edge_agent.rules.environment import Scope
from edge_agent.rules.load import compile_rules
from edge_agent.rules.rule import Problem, Rule, RuleSpec
from edge_agent.rules.values import Type
from edge_agent.rules.windows import WINDOW_FUNCTIONS

TYPES = {"double": Type.DOUBLE, "int": Type.INT, "bool": Type.BOOL, "string": Type.STRING}
_MOST = sys.float_info.max


class LaneSpec(msgspec.Struct, frozen=True):
    """What the engine must know of a lane; from the package's manifest and the site file."""

    name: str
    outputs: dict[str, str]
    """Output name to type, as in `FieldSpec.type`."""
    fields: tuple[str, ...] = ()
    """`stream.field` of each channel of its window; none for a camera's lane."""
    length: int = 0
    stride: int = 1
    stale_ns: int = 10_000_000_000


class PlanProblem(msgspec.Struct, frozen=True):
    """What is wrong, at a key of the site file: `("signal", 2, "of")`."""

    key: tuple[str | int, ...]
    reason: str
    hint: str = ""
    is_error: bool = True
    rule: str = ""
    line: int = 0
    col: int = 0
    """Inside the text at `key`, from 1; 0 where it has no place in it."""


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """A field that rules can see. Values outside `least..most` are of bad quality."""

    stream: str
    name: str
    slot: int
    type: str
    slot_type: Type
    least: float
    most: float
    stale_ns: int


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """A window over slot `of`, into `slot`."""

    fn: str
    of: int
    slot: int
    window: Window
    argument: float | None
    whole: bool
    """Its value is an int."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """A lane's slots, and the stream and fields of its window, if it has one."""

    spec: LaneSpec
    outputs: dict[str, int]
    trust: int
    trusted: int
    stream: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signals:
    """All signals of a site but the windows that rules ask for while they are compiled."""

    scope: Scope
    fields: tuple[FieldPlan, ...]
    windows: tuple[WindowPlan, ...]
    lanes: tuple[LanePlan, ...]
    health: dict[str, int]
    rung: int
    stale_ns: dict[str, int]
    """By stream, for streams that the site file names."""


class Doubts:
    """Which names would perhaps be signals if what is wrong elsewhere were corrected. `met`: such as rules read."""

    def __init__(self, doubted: Callable[[str], bool] = lambda _: False) -> None:
        self.met: dict[str, None] = {}
        self.doubted = doubted

    def meet(self, name: str) -> bool:
        doubted = self.doubted(name)
        if doubted:
            self.met[name] = None
        return doubted


class SignalPlanner:
    """Fills a scope with the signals of a site; collects problems."""

    def __init__(
        self, site: SiteConfig, fields: Mapping[str, Mapping[str, FieldSpec]], lanes: Mapping[str, LaneSpec],
        doubts: Doubts,
    ) -> None:  # fmt: skip
        self.scope = Scope()
        self.problems: list[PlanProblem] = []
        self._site = site
        self._fields = fields
        self._specs = lanes
        self._doubts = doubts

    def signals(self) -> Signals:
        fields = self._plan_fields()
        lanes = self._plan_lanes()
        parts = [s.name for s in self._site.source] + [a.name for a in self._site.actuator] + ["uplink", "store"]
        parts += [f"{m.name}.firmware" for m in self._site.mcu]
        health = {part: self._define(f"health.{part}", Type.BOOL, ()) for part in dict.fromkeys(parts)}
        rung = self._define("agent.rung", Type.STRING, ())
        windows = self._plan_windows()
        stale = {s.name: parse_duration(s.stale_after) for s in self._site.source}
        return Signals(self.scope, fields, windows, lanes, health, rung, stale)

    def _define(self, name: str, of: Type, key: tuple[str | int, ...], *, from_model: bool = False) -> int:
        try:
            return self.scope.define(name, of, from_model=from_model).slot
        except ValueError:
            self.problems.append(PlanProblem(key, f'there are two signals "{name}"', "rename one of them"))
            return 0

    def _plan_fields(self) -> tuple[FieldPlan, ...]:
        plans = []
        for i, source in enumerate(self._site.source):
            stale_ns = parse_duration(source.stale_after)
            if source.kind != "camera" and self._fields[source.name].keys() <= source.fields.keys():
                # its driver knows no fields of its own, so that rules have only what the site file declares
                self.scope.leave_open(source.name, f"declare it in the fields of source {source.name}")
            for path, spec in self._fields[source.name].items():
                stream, _, name = path.rpartition(".")
                stream = stream or source.name
                slot = self._define(f"{stream}.{name}", TYPES[spec.type], ("source", i, "fields", path))
                least, most = _range(spec)
                plans.append(FieldPlan(stream, name, slot, spec.type, TYPES[spec.type], least, most, stale_ns))
        return tuple(plans)

    def _plan_lanes(self) -> tuple[LanePlan, ...]:
        plans = []
        for i, model in enumerate(self._site.model):
            spec = self._specs.get(model.name)
            if spec is None:
                continue
            key = ("model", i, "name")
            outputs = {
                name: self._define(f"{spec.name}.{name}", TYPES[kind], key, from_model=True)
                for name, kind in spec.outputs.items()
            }
            trust = self._define(f"{spec.name}.trust", Type.STRING, key)
            trusted = self._define(f"{spec.name}.trusted", Type.BOOL, key)
            stream, fields = self._lane_input(spec, ("model", i, "input"))
            plans.append(LanePlan(spec, outputs, trust, trusted, stream, fields))
        return tuple(plans)

    def _lane_input(self, spec: LaneSpec, key: tuple[str | int, ...]) -> tuple[str, tuple[str, ...]]:
        streams = {path.rpartition(".")[0] for path in spec.fields}
        if len(streams) > 1:
            shown = ", ".join(sorted(streams))
            self._problem(key, f"a window takes fields of one stream, these are of {shown}", "use one model a stream")
        for n, path in enumerate(spec.fields):
            signal = self.scope.resolve(path)
            if signal is None and self._doubts.doubted(path):
                continue
            if signal is None or signal.from_model or not signal.type.is_number:
                # at the place where the loader speaks of it, so that it is said once
                self._problem((*key, n), f'"{path}" is not a number of a source', "declare it in the source's fields")
        return min(streams, default=""), tuple(path.rpartition(".")[2] for path in spec.fields)

    def _plan_windows(self) -> tuple[WindowPlan, ...]:
        """In an order in which each window comes after what it looks at."""
        waiting = list(enumerate(self._site.signal))
        plans: list[WindowPlan] = []
        while waiting:
            ready = [(i, s) for i, s in waiting if self.scope.resolve(s.of) is not None]
            if not ready:
                for i, s in waiting:
                    if self._doubts.doubted(s.of):
                        continue
                    self._problem(("signal", i, "of"), f'"{s.of}" names no signal, or depends on itself')
                break
            for i, s in ready:
                waiting.remove((i, s))
                plans.extend(self._plan_window(i, s))
        return tuple(plans)

    def _plan_window(self, i: int, s: SignalConfig) -> list[WindowPlan]:
        of = self.scope.resolve(s.of)
        assert of is not None
        function = WINDOW_FUNCTIONS[s.fn]
        gives = function.gives(of.type)
        if gives is None:
            self._problem(("signal", i, "fn"), f'{s.fn} does not apply to "{s.of}", which is a {of.type}')
            return []
        window = Window(ns=parse_duration(s.window)) if s.window else Window(readings=s.last or 0)
        from_model = of.from_model and s.fn != "absent"
        slot = self._define(s.name, gives, ("signal", i, "name"), from_model=from_model)
        return [WindowPlan(s.fn, of.slot, slot, window, s.p, gives == Type.INT)]

    def _problem(self, key: tuple[str | int, ...], reason: str, hint: str = "") -> None:
        self.problems.append(PlanProblem(key, reason, hint))


def _range(spec: FieldSpec) -> tuple[float, float]:
    least = -_MOST if spec.min is None else spec.min
    most = _MOST if spec.max is None else spec.max
    return least, most


def _derived_windows(scope: Scope) -> tuple[WindowPlan, ...]:
    """The windows that expressions asked for, in the order in which they did."""
    return tuple(
        WindowPlan(d.fn, d.of.slot, d.signal.slot, d.window, d.argument, d.signal.type == Type.INT)
        for d in scope.derived
    )



@dataclass(frozen=True, slots=True)
class RulePlan:
    """A rule's identity beside its compiled form: what decisions and alerts say of it."""

    config: RuleConfig
    sha256: str
    lanes: tuple[str, ...]
    """Whose outputs it reads, directly or through a window."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs to know of a site. `size` is the number of slots."""

    size: int
    names: tuple[str, ...]
    fields: tuple[FieldPlan, ...]
    windows: tuple[WindowPlan, ...]
    lanes: tuple[LanePlan, ...]
    health: dict[str, int]
    rung: int
    rules: tuple[Rule, ...]
    rule_plans: dict[str, RulePlan]


class PlanError(EdgeError):
    """The site cannot run as written; all its problems."""

    def __init__(self, problems: tuple[PlanProblem, ...]) -> None:
        super().__init__("; ".join(p.reason for p in problems), hint="edge-agent check shows each with its place")
        self.problems = problems


def make_plan(
    site: SiteConfig, fields: Mapping[str, Mapping[str, FieldSpec]], lanes: Mapping[str, LaneSpec],
    doubts: Doubts | None = None,
) -> tuple[Plan, tuple[PlanProblem, ...]]:  # fmt: skip
    """The plan, and warnings. `fields` by source, then by `field` or `stream.field`. Raises PlanError with every
    problem that is an error, and the warnings. `doubts`: for a site with errors, of which no plan is wanted."""
    doubts = doubts or Doubts()
    planner = SignalPlanner(site, fields, lanes, doubts)
    signals = planner.signals()
    signals.scope.doubt(doubts.meet)
    rules, found = compile_rules([_rule_spec(rule) for rule in site.rule], signals.scope)
    problems = tuple(planner.problems) + tuple(_rule_problem(p) for p in found)
    if any(p.is_error for p in problems):
        raise PlanError(problems)
    windows = signals.windows + _derived_windows(signals.scope)
    plans = {r.id: RulePlan(r, _rule_sha256(r), ()) for r in site.rule}
    lane_of = _lanes_by_slot(signals.lanes, windows)
    for rule in rules:
        read = {lane_of[s.slot] for s in rule.reads if s.slot in lane_of}
        plans[rule.id] = RulePlan(plans[rule.id].config, plans[rule.id].sha256, tuple(sorted(read)))
    names = tuple(signals.scope.names())
    plan = Plan(
        signals.scope.size, names, signals.fields, windows, signals.lanes, signals.health, signals.rung, rules, plans
    )
    return plan, problems


def _rule_spec(rule: RuleConfig) -> RuleSpec:
    for_ns = parse_duration(rule.for_) if rule.for_ else 0
    return RuleSpec(
        rule.id, rule.when, for_ns, rule.clear, rule.otherwise, rule.severity, rule.latch, tuple(rule.actions),
        rule.for_ is not None,
    )  # fmt: skip


def _rule_problem(p: Problem) -> PlanProblem:
    return PlanProblem(("rule", p.index, p.key), p.message, p.hint, p.is_error, p.rule, p.line, p.col)


def _rule_sha256(rule: RuleConfig) -> str:
    return hashlib.sha256(msgspec.json.encode(rule)).hexdigest()


def _lanes_by_slot(lanes: tuple[LanePlan, ...], windows: tuple[WindowPlan, ...]) -> dict[int, str]:
    by_slot = {slot: lane.spec.name for lane in lanes for slot in lane.outputs.values()}
    for window in windows:
        if window.of in by_slot:
            by_slot[window.slot] = by_slot[window.of]
    return by_slot
