"""The state machine of one rule. Deterministic: time comes in by parameter, values hold until the next step.

    normal ──condition──► pending ──held for `for`──► raised ──may clear──► normal
      ▲                      │                          │ ▲
      └──────────────────────┘ condition false    latch │ │ condition again
      ▲                                                 ▼ │
      └───────────────────── reset ─────────────────── latched

The condition is `when`, or `otherwise` while `when` is unknown. An unknown condition pauses the time that is held
and leaves a raised rule raised: it clears only where the condition is false and `clear`, if there is one, is true.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_agent.rules.rule import Rule
from edge_agent.rules.values import UNKNOWN, Known, Unknown, Value


class Phase(enum.StrEnum):
    NORMAL = "normal"
    PENDING = "pending"
    """The condition holds, not yet for long enough; or it did, and is unknown now."""
    RAISED = "raised"
    LATCHED = "latched"
    """Raised, the cause is gone, waiting for a reset."""


class Outcome(enum.StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"
    RESET = "reset"
    UNKNOWN = "unknown"
    """An expression that the rule needs now cannot be decided."""
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change that people see, with its evidence.

    `branch`: the expression that decided, `when`, `otherwise` or `clear`; empty for a reset.
    `inputs`: every signal of the rule at that time, None for unknown. `unknown`: the names of those.
    """

    rule: str
    outcome: Outcome
    at_ns: int
    branch: str
    inputs: dict[str, Known | None]
    unknown: tuple[str, ...]


class _Verdict(NamedTuple):
    """What the expressions say about one set of values."""

    truth: Value
    """The condition's."""
    branch: str
    """Which expression decided."""
    may_clear: bool
    is_unknown: bool


_RAISED_PHASES: Final = (Phase.RAISED, Phase.LATCHED)


class RuleMachine:
    """Steps one rule. `phase` is where it stood before a restart; a time that was held is not carried over."""

    __slots__ = (
        "_branch",
        "_held_ns",
        "_inputs_held",
        "_is_unknown",
        "_now_ns",
        "_phase",
        "_reads",
        "_since_ns",
        "rule",
    )

    def __init__(self, rule: Rule, phase: Phase = Phase.NORMAL) -> None:
        self.rule = rule
        self._reads = tuple((signal.name, signal.slot) for signal in rule.reads)
        self._phase: Phase = Phase.NORMAL if phase is Phase.PENDING else phase
        self._is_unknown = False
        self._held_ns = 0
        self._since_ns: int | None = None
        self._now_ns = 0
        self._branch = ""
        self._inputs_held: dict[str, Known | None] = {}

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def is_raised(self) -> bool:
        return self._phase in _RAISED_PHASES

    @property
    def is_unknown(self) -> bool:
        return self._is_unknown

    def deadline(self) -> int | None:
        """When the rule will be raised if nothing changes. Step it then."""
        return None if self._since_ns is None else self._since_ns + self.rule.for_ns - self._held_ns

    def step(self, values: Sequence[Value], now_ns: int) -> list[Transition]:
        """Takes the values as of `now_ns`; those of the step before have held until then."""
        now_ns = self._now_ns = max(now_ns, self._now_ns)
        # nearly always: nothing stood, and nothing stands
        if self._phase is Phase.NORMAL and not self._is_unknown and self.rule.when.evaluate(values) is False:
            return []
        transitions = self._fire(now_ns)
        verdict = self._judge(values)
        if verdict.is_unknown != self._is_unknown:
            self._is_unknown = verdict.is_unknown
            outcome = Outcome.UNKNOWN if verdict.is_unknown else Outcome.KNOWN
            transitions.append(self._transition(outcome, now_ns, verdict.branch, self._inputs(values)))
        if not self.is_raised:
            self._step_waiting(verdict, values, now_ns)
            transitions += self._fire(now_ns)
        elif self._step_raised(verdict):
            transitions.append(self._transition(Outcome.CLEARED, now_ns, verdict.branch, self._inputs(values)))
        return transitions

    def reset(self, values: Sequence[Value], now_ns: int) -> list[Transition]:
        """A person's reset. Only a latched rule whose cause is gone follows it; else nothing, not even later."""
        if self._phase is not Phase.LATCHED:
            return []
        self._phase = Phase.NORMAL
        now_ns = self._now_ns = max(now_ns, self._now_ns)
        return [self._transition(Outcome.RESET, now_ns, "", self._inputs(values))]

    def _fire(self, now_ns: int) -> list[Transition]:
        """Raises where the time has been held by `now_ns`, as of that deadline and on what was known until then."""
        deadline_ns = self.deadline()
        if deadline_ns is None or deadline_ns > now_ns:
            return []
        self._phase = Phase.RAISED
        self._stop_holding()
        return [self._transition(Outcome.RAISED, deadline_ns, self._branch, self._inputs_held)]

    def _step_waiting(self, verdict: _Verdict, values: Sequence[Value], now_ns: int) -> None:
        if verdict.truth is True:
            self._phase = Phase.PENDING
            self._branch, self._inputs_held = verdict.branch, self._inputs(values)
            if self._since_ns is None:
                self._since_ns = now_ns
        elif verdict.truth is False:
            self._phase = Phase.NORMAL
            self._stop_holding()
        elif self._since_ns is not None:
            self._held_ns += now_ns - self._since_ns
            self._since_ns = None

    def _step_raised(self, verdict: _Verdict) -> bool:
        """Whether the rule is cleared by this."""
        if verdict.truth is True:
            self._phase = Phase.RAISED
        elif verdict.may_clear and self._phase is Phase.RAISED:
            self._phase = Phase.LATCHED if self.rule.latch else Phase.NORMAL
        return self._phase is Phase.NORMAL

    def _stop_holding(self) -> None:
        self._held_ns = 0
        self._since_ns = None

    def _judge(self, values: Sequence[Value]) -> _Verdict:
        rule = self.rule
        truth, branch = rule.when.evaluate(values), "when"
        is_unknown = truth is UNKNOWN
        if is_unknown and rule.otherwise is not None:
            truth, branch = rule.otherwise.evaluate(values), "otherwise"
        may_clear = truth is False
        # not while the condition holds: the rule would be raised again at once; nor while it is unknown: a model
        # that dies must not clear what it raised
        if may_clear and rule.clear is not None and self.is_raised:
            clear, branch = rule.clear.evaluate(values), "clear"
            may_clear, is_unknown = clear is True, is_unknown or clear is UNKNOWN
        return _Verdict(truth, branch, may_clear, is_unknown)

    def _inputs(self, values: Sequence[Value]) -> dict[str, Known | None]:
        inputs: dict[str, Known | None] = {}
        for name, slot in self._reads:
            value = values[slot]
            inputs[name] = None if isinstance(value, Unknown) else value
        return inputs

    def _transition(self, outcome: Outcome, at_ns: int, branch: str, inputs: dict[str, Known | None]) -> Transition:
        unknown = tuple(name for name, value in inputs.items() if value is None)
        return Transition(self.rule.id, outcome, at_ns, branch, inputs, unknown)
