"""A user's own cases for their rules, run through the real engine on a clock of their own.

    [[case]]
    name = "a hot motor stops the press, with or without the model"
    steps = [
      { at = "0s", set = { "motor.temp" = 20.0 }, down = ["bearing"] },
      { at = "5s", set = { "motor.temp" = 95.0 }, expect = { overheat = "normal" } },
      { at = "16s", expect = { overheat = "raised" }, actions = ["press.relay = 0"] },
    ]

`at` counts from the start of the case. `set` gives fields and model outputs; `up` and `down` name models and health
parts. `expect` says where rules stand after the step: normal, pending, raised, latched or unknown; `actions` names
every action since the step before.
"""

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
        self._engine.handle(Tick(Stamp(0, 0)))
        self._lanes = {lane.spec.name for lane in assembly.plan.lanes}
        self._number = 0

    def failures(self) -> Iterator[str]:
        for step in self._case.steps:
            try:
                now_ns = parse_duration(step.at)
            except DurationError as e:
                raise Fatal(f'case "{self._case.name}": at: {e}', exit_code=ExitCode.CONFIGURATION) from e
            effects = self._until(now_ns)
            for event in self._events(step, Stamp(now_ns, now_ns)):
                effects += self._engine.handle(event)
            yield from self._differences(step, effects)

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
            if name not in self._plan.names:
                raise self._unknown("signal", name, list(self._plan.names))
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
            if phases[rule] != expected:
                yield f"at {step.at}: {rule} is {phases[rule]}, expected {expected}"
        if step.actions is not None:
            done = tuple(f"{a.actuator}.{a.target} = {_toml(a.value)}" for a in effects if isinstance(a, Act))
            if done != step.actions:
                yield f"at {step.at}: actions were {list(done)}, expected {list(step.actions)}"

    def _unknown(self, what: str, name: str, known: list[str]) -> Fatal:
        hint = did_you_mean(name, known, "")
        return Fatal(f'case "{self._case.name}": no {what} "{name}"', hint=hint, exit_code=ExitCode.CONFIGURATION)


def _toml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
