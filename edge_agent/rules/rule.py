"""Rules as configured, as compiled, and what is wrong with them: every problem at once."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.rules.environment import Signal
from edge_agent.rules.program import Program


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule as somebody wrote it. The expressions are text; `for_ns` is how long the condition must hold."""

    id: str
    when: str
    for_ns: int = 0
    clear: str | None = None
    otherwise: str | None = None
    severity: str = "warning"
    latch: bool = False
    actions: tuple[object, ...] = ()
    deliberate: bool = False
    """Somebody wrote down how long the condition must hold, even if that is no time at all."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule. `actions` are the engine's: nothing here looks into them."""

    id: str
    when: Program
    for_ns: int = 0
    clear: Program | None = None
    otherwise: Program | None = None
    severity: str = "warning"
    latch: bool = False
    actions: tuple[object, ...] = ()

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(program for program in (self.when, self.otherwise, self.clear) if program is not None)

    @property
    def reads(self) -> tuple[Signal, ...]:
        """The signals of all its expressions, by slot."""
        by_slot = {signal.slot: signal for program in self.programs for signal in program.reads}
        return tuple(by_slot[slot] for slot in sorted(by_slot))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the rule at `index` of those given, under its key `key` (`id`, `when`, `clear`, …).

    `line` and `col` count from 1 inside that expression, and are 0 where the problem has no place in it.
    """

    index: int
    rule: str
    key: str
    message: str
    hint: str = ""
    line: int = 0
    col: int = 0
    is_error: bool = True

    def __str__(self) -> str:
        place = f"{self.line}:{self.col}: " if self.line else ""
        return f'rule "{self.rule}": {self.key}: {place}{self.message}' + (f"; {self.hint}" if self.hint else "")
