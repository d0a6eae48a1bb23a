"""A user's own cases for their rules (`rules.py` shows one), run through the real engine on a clock of their own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_agent.assembly import Assembly
from edge_agent.config.nearest import did_you_mean
from edge_agent.durations import DurationError, parse_duration
from edge_agent.engine import Engine
from edge_agent.errors import ExitCode, Fatal
from edge_agent.rules.values import UNKNOWN
from edge_agent.types import (
    Act,
    Effect,
    Event,
    HealthChange,
    LaneChange,
    ModelRef,
    Prediction,
    Reading,
    Stamp,
    Tick,
    Value,
)

_MODEL = ModelRef("case", "0", "0" * 64)
_STANDS = ("normal", "pending", "raised", "latched", "unknown")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: str
    set: dict[str, Value] = {}
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    expect: dict[str, str] = {}
    actions: tuple[str, ...] | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    steps: tuple[Step, ...]


class Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[Case, ...]


class Result(msgspec.Struct, frozen=True):
    """`failures` is empty where the case holds."""

    case: str
    failures: tuple[str, ...]


def read_cases(path: Path) -> Cases:
    """Raises Fatal with the place of what is wrong."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Cases)
    except OSError as e:
        raise Fatal(f"{path}: {e.strerror}", exit_code=ExitCode.CONFIGURATION) from e
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as e:
        hint = "edge-agent rules test --help shows a case"
        raise Fatal(f"{path}: {e}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e


def run_case(assembly: Assembly, case: Case) -> Result:
    """Each case starts a fresh engine."""
    return Result(case.name, tuple(_CaseRun(assembly, case).failures()))


class _CaseRun:
    def __init__(self, assembly: Assembly, case: Case) -> None:
        self._plan = assembly.plan
        self._case = case
        self._engine = Engine(assembly.plan, epoch="case")
        self._lanes = {lane.spec.name: lane.spec for lane in assembly.plan.lanes}
        fields = [f"{field.stream}.{field.name}" for field in assembly.plan.fields]
        outputs = [f"{name}.{output}" for name, lane in self._lanes.items() for output in lane.outputs]
        self._settable = fields + outputs
        self._number = 0

    def _begin(self) -> list[Effect]:
        """Every model serves, every part works."""
        start = Stamp(0, 0)
        events: list[Event] = [Tick(start)]
        events += [LaneChange(name, "trusted", start) for name in self._lanes]
        events += [HealthChange(name, True, start) for name in self._plan.health]
        return [effect for event in events for effect in self._engine.handle(event)]

    def failures(self) -> Iterator[str]:
        earlier, before_ns = self._begin(), 0
        for step in self._case.steps:
            now_ns = self._time(step, before_ns)
            before_ns = now_ns
            effects = earlier + self._until(now_ns)
            earlier = []
            for event in self._events(step, Stamp(now_ns, now_ns)):
                effects += self._engine.handle(event)
            yield from self._differences(step, effects)

    def _time(self, step: Step, before_ns: int) -> int:
        try:
            now_ns = parse_duration(step.at)
        except DurationError as e:
            raise self._wrong(f"at: {e.message}", e.hint) from e
        if now_ns < before_ns:
            raise self._wrong(f'at = "{step.at}" is before the step above it', "put the steps in the order of time")
        return now_ns

    def _until(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        while (deadline_ns := self._engine.next_deadline()) <= now_ns:
            effects += self._engine.handle(Tick(Stamp(deadline_ns, deadline_ns)))
        return effects + self._engine.handle(Tick(Stamp(now_ns, now_ns)))

    def _events(self, step: Step, stamp: Stamp) -> Iterator[Event]:
        for name, up in [(name, True) for name in step.up] + [(name, False) for name in step.down]:
            if name in self._lanes:
                yield LaneChange(name, "trusted" if up else "unavailable", stamp)
            elif name in self._plan.health:
                yield HealthChange(name, up, stamp)
            else:
                raise self._unknown("model or part", name, [*self._lanes, *self._plan.health])
        by_stream: dict[str, dict[str, Value | None]] = {}
        for name, value in step.set.items():
            if name not in self._settable:
                raise self._unknown("field or model output", name, self._settable)
            stream, _, field = name.rpartition(".")
            by_stream.setdefault(stream, {})[field] = value
        for stream, values in by_stream.items():
            yield self._input(stream, values, stamp)

    def _input(self, stream: str, values: dict[str, Value | None], stamp: Stamp) -> Event:
        if stream not in self._lanes:
            return Reading(stream, stamp, values)
        self._number += 1
        return Prediction(stream, self._number, stamp, stamp, _MODEL, True, {**values})

    def _differences(self, step: Step, effects: list[Effect]) -> Iterator[str]:
        phases = self._engine.phases()
        for rule, expected in step.expect.items():
            if rule not in phases:
                raise self._unknown("rule", rule, list(phases))
            if expected not in _STANDS:
                raise self._unknown("state of a rule", expected, list(_STANDS))
            if phases[rule] != expected:
                yield f"at {step.at}: {rule} is {phases[rule]}, expected {expected}; {self._seen(rule)}"
        if step.actions is not None:
            done = tuple(f"{a.actuator}.{a.target} = {_toml(a.value)}" for a in effects if isinstance(a, Act))
            if done != step.actions:
                yield f"at {step.at}: actions were {list(done)}, expected {list(step.actions)}"

    def _seen(self, rule: str) -> str:
        """What the rule knows now: `motor.temp = 95.0, bearing.score unknown`."""
        values = self._engine.values
        reads = next(r for r in self._plan.rules if r.id == rule).reads
        return ", ".join(f"{s.name} {_shown(values[s.slot])}" for s in reads) or "it reads nothing"

    def _unknown(self, what: str, name: str, known: list[str]) -> Fatal:
        return self._wrong(f'no {what} "{name}"', did_you_mean(name, known, f"known: {', '.join(known) or 'none'}"))

    def _wrong(self, reason: str, hint: str) -> Fatal:
        return Fatal(f'case "{self._case.name}": {reason}', hint=hint, exit_code=ExitCode.CONFIGURATION)


def _shown(value: object) -> str:
    return "unknown" if value is UNKNOWN else f"= {value}"


def _toml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
