"""The state machine of a rule: by example first, then against a slow model that recounts the whole history."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.rules import UNKNOWN, Phase, Rule, RuleMachine, Scope, Type, compile_expression

T, F, U = True, False, UNKNOWN
S = 1_000_000_000


@pytest.fixture
def scope():
    scope = Scope()
    scope.define("c", Type.BOOL)
    scope.define("k", Type.BOOL)
    scope.define("o", Type.BOOL)
    return scope


def machine(scope, *, for_ns=0, clear=False, otherwise=False, latch=False, phase=Phase.NORMAL):
    def program(text):
        return compile_expression(text, scope)

    rule = Rule(
        "r", program("c"), for_ns, program("k") if clear else None, program("o") if otherwise else None, latch=latch
    )
    return RuleMachine(rule, phase)


def seen(transitions):
    return [(str(t.outcome), t.at_ns, t.branch) for t in transitions]


def test_without_for_the_rule_is_raised_at_once_and_cleared_when_the_condition_ends(scope):
    m = machine(scope)
    assert seen(m.step([T, U, U], 5)) == [("raised", 5, "when")]
    assert m.step([T, U, U], 6) == []
    assert seen(m.step([F, U, U], 7)) == [("cleared", 7, "when")]


def test_the_condition_must_hold_for_the_whole_time(scope):
    m = machine(scope, for_ns=10 * S)
    assert m.step([T, U, U], 0) == []
    assert m.phase is Phase.PENDING
    assert m.deadline() == 10 * S
    assert m.step([F, U, U], 9 * S) == []
    assert m.deadline() is None
    m.step([T, U, U], 20 * S)
    assert seen(m.step([T, U, U], 30 * S)) == [("raised", 30 * S, "when")]


def test_a_late_step_raises_as_of_the_deadline_on_what_held_until_then(scope):
    m = machine(scope, for_ns=10 * S)
    m.step([T, F, U], 0)
    raised, cleared = m.step([F, T, U], 25 * S)
    assert (raised.outcome, raised.at_ns, raised.inputs) == ("raised", 10 * S, {"c": True})
    assert (cleared.outcome, cleared.at_ns, cleared.inputs) == ("cleared", 25 * S, {"c": False})


def test_unknown_pauses_the_time_and_keeps_what_was_held(scope):
    m = machine(scope, for_ns=10 * S)
    m.step([T, U, U], 0)
    assert seen(m.step([U, U, U], 6 * S)) == [("unknown", 6 * S, "when")]
    assert m.deadline() is None
    assert m.phase is Phase.PENDING
    assert seen(m.step([T, U, U], 100 * S)) == [("known", 100 * S, "when")]
    assert m.deadline() == 104 * S
    assert seen(m.step([T, U, U], 104 * S)) == [("raised", 104 * S, "when")]


def test_unknown_holds_a_raised_rule(scope):
    m = machine(scope)
    m.step([T, U, U], 0)
    assert seen(m.step([U, U, U], 1)) == [("unknown", 1, "when")]
    assert m.is_raised
    assert seen(m.step([F, U, U], 2)) == [("known", 2, "when"), ("cleared", 2, "when")]


def test_a_model_that_dies_does_not_clear_what_it_raised_even_where_clear_is_true(scope):
    m = machine(scope, clear=True)
    m.step([T, T, U], 0)
    m.step([U, T, U], 1)
    assert m.is_raised
    assert seen(m.step([F, T, U], 2))[-1] == ("cleared", 2, "clear")


def test_clear_is_hysteresis(scope):
    m = machine(scope, clear=True)
    m.step([T, F, U], 0)
    assert m.step([F, F, U], 1) == []
    assert m.is_raised
    assert seen(m.step([F, T, U], 2)) == [("cleared", 2, "clear")]


def test_an_unknown_clear_holds_and_is_visible(scope):
    m = machine(scope, clear=True)
    m.step([T, F, U], 0)
    (transition,) = m.step([F, U, U], 1)
    assert (transition.outcome, transition.branch, transition.unknown) == ("unknown", "clear", ("k",))
    assert m.is_raised


def test_otherwise_decides_while_when_is_unknown_and_obeys_for_and_clear(scope):
    m = machine(scope, for_ns=10 * S, clear=True, otherwise=True)
    (transition,) = m.step([U, F, T], 0)
    assert (transition.outcome, transition.branch, transition.unknown) == ("unknown", "otherwise", ("c",))
    assert seen(m.step([U, F, T], 10 * S)) == [("raised", 10 * S, "otherwise")]
    assert m.step([U, F, F], 11 * S) == []
    assert seen(m.step([U, T, F], 12 * S)) == [("cleared", 12 * S, "clear")]


def test_the_time_held_carries_over_from_when_to_otherwise(scope):
    m = machine(scope, for_ns=10 * S, otherwise=True)
    m.step([T, U, F], 0)
    m.step([U, U, T], 4 * S)
    assert m.deadline() == 10 * S


def test_a_latched_rule_stays_raised_until_reset_and_only_then(scope):
    m = machine(scope, latch=True)
    m.step([T, U, U], 0)
    assert m.reset([T, U, U], 1) == []
    assert m.step([F, U, U], 2) == []
    assert m.phase is Phase.LATCHED
    m.step([T, U, U], 3)
    assert m.phase is Phase.RAISED
    m.step([F, U, U], 4)
    assert seen(m.reset([F, U, U], 5)) == [("reset", 5, "")]
    assert m.phase is Phase.NORMAL
    assert seen(m.step([T, U, U], 6)) == [("raised", 6, "when")]


def test_a_raised_rule_is_still_raised_after_a_restart(scope):
    m = machine(scope, latch=True, phase=Phase.RAISED)
    assert m.step([T, U, U], 0) == []
    m.step([F, U, U], 1)
    assert m.phase is Phase.LATCHED
    assert machine(scope, phase=Phase.PENDING).phase is Phase.NORMAL


def test_evidence_names_every_input_and_what_of_it_is_unknown(scope):
    m = machine(scope, clear=True, otherwise=True)
    transitions = m.step([U, F, T], 3)
    assert seen(transitions) == [("unknown", 3, "otherwise"), ("raised", 3, "otherwise")]
    assert transitions[1].inputs == {"c": None, "k": False, "o": True}
    assert transitions[1].unknown == ("c",)


def test_time_does_not_run_backwards(scope):
    m = machine(scope, for_ns=10 * S)
    m.step([T, U, U], 5 * S)
    m.step([U, U, U], 1 * S)
    m.step([T, U, U], 6 * S)
    assert m.deadline() == 16 * S


@dataclass(frozen=True)
class Event:
    at: int
    values: tuple
    reset: bool = False


class Model:
    """What a rule must do, told from its whole history: one instant after the other, nothing remembered but events.

    Only the current episode (waiting since, or raised) is state; the time held is recounted from the events.
    """

    def __init__(self, for_ns, clear, otherwise, latch):
        self.for_ns, self.clear, self.otherwise, self.latch = for_ns, clear, otherwise, latch
        self.history = []  # (instant, truth of the condition from then on)
        self.waiting_since = 0
        self.raised = self.loose = self.unknown = False
        self.log = []

    def condition(self, values):
        when, _, otherwise = values
        return otherwise if when is U and self.otherwise else when

    def held(self, now):
        """How many of the instants since the condition was last false it was true."""
        count = 0
        for instant in range(self.waiting_since, now):
            said = [truth for at, truth in self.history if at <= instant]
            count += 1 if said and said[-1] is T else 0
        return count

    def pass_to(self, last, now):
        for instant in range(last, now + 1):
            self.maybe_raise(instant)

    def maybe_raise(self, now):
        if not self.raised and self.history and self.history[-1][1] is T and self.held(now) >= self.for_ns:
            self.raised, self.loose = True, False
            self.log.append(("raised", now))

    def take(self, event):
        now, truth = event.at, self.condition(event.values)
        self.history = [entry for entry in self.history if entry[0] < now] + [(now, truth)]
        decidable = truth is F and self.raised and self.clear
        unknown = event.values[0] is U or (decidable and event.values[1] is U)
        if unknown != self.unknown:
            self.unknown = unknown
            self.log.append(("unknown" if unknown else "known", now))
        if not self.raised:
            if truth is F:
                self.waiting_since = now
            self.maybe_raise(now)
        elif truth is T:
            self.loose = False
        elif truth is F and (not self.clear or event.values[1] is T):
            self.loose = True
            if not self.latch:
                self.leave(now, "cleared")

    def leave(self, now, outcome):
        self.raised, self.waiting_since = False, now
        self.log.append((outcome, now))

    def reset(self, now):
        if self.raised and self.latch and self.loose:
            # what held before the reset does not count: the cause was gone
            self.history = []
            self.leave(now, "reset")


truths = st.sampled_from([T, T, F, U])
events = st.lists(
    st.tuples(st.integers(1, 6), st.tuples(truths, truths, truths), st.booleans(), st.booleans()), max_size=14
)


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 9), st.booleans(), st.booleans(), st.booleans(), events, st.booleans())
def test_agrees_with_the_model_whether_ticks_come_or_not(for_ns, clear, otherwise, latch, plan, ticks):
    scope = Scope()
    for name in "cko":
        scope.define(name, Type.BOOL)
    m = machine(scope, for_ns=for_ns, clear=clear, otherwise=otherwise, latch=latch)
    model, got, now, values = Model(for_ns, clear, otherwise, latch), [], 0, None
    for wait, following, reset, extra_tick in plan:
        before, now = now, now + wait
        if ticks and (due := m.deadline()) is not None and due <= now:
            got += m.step(values, due)
        if extra_tick and values is not None:
            got += m.step(values, now)
            model.pass_to(before, now)
        else:
            model.pass_to(before, now)
        if reset and values is not None and m.phase is Phase.LATCHED:
            got += m.reset(values, now)
            model.reset(now)
        values = following
        got += m.step(values, now)
        model.take(Event(now, values))
    assert [(str(t.outcome), t.at_ns) for t in got] == model.log
