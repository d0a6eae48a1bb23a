"""compile_rules finds every problem at once, and proves that no rule goes silent with its model."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.rules import UNKNOWN, RuleSpec, Scope, Type, compile_expression, compile_rules
from edge_agent.rules.outcomes import Outcomes, from_model, outcomes


@pytest.fixture
def scope():
    scope = Scope()
    scope.define("motor.temp", Type.DOUBLE)
    scope.define("motor.on", Type.BOOL)
    scope.define("bearing.score", Type.DOUBLE, from_model=True)
    scope.define("bearing.bad", Type.BOOL, from_model=True)
    return scope


def problems(scope, *specs):
    return [(p.key, p.is_error) for p in compile_rules(specs, scope)[1]]


def test_a_good_rule_has_no_problem(scope):
    spec = RuleSpec(
        "bearing-overheat",
        'mean(motor.temp, "5m") > 85 || (bearing.score > 0.8 && motor.temp > 60)',
        for_ns=10,
        clear='mean(motor.temp, "5m") < 75',
        otherwise="motor.temp > 80",
        actions=("stop",),
    )
    rules, found = compile_rules([spec], scope)
    assert found == ()
    assert rules[0].when.signals == {"mean(motor.temp, 5m)", "bearing.score", "motor.temp"}
    assert len(scope.derived) == 1


def test_every_problem_of_every_rule_is_reported_at_once(scope):
    specs = [
        RuleSpec("a", "motor.tmp > 1", clear="motor.temp >", otherwise="1"),
        RuleSpec("a", "motor.temp > 80"),
        RuleSpec("b", "bearing.bad"),
        RuleSpec("c", "motor.on", for_ns=-1),
    ]
    rules, found = compile_rules(specs, scope)
    assert [(p.index, p.rule, p.key) for p in found] == [
        (0, "a", "when"), (0, "a", "clear"), (0, "a", "otherwise"), (1, "a", "id"), (2, "b", "when"), (3, "c", "for"),
    ]  # fmt: skip
    assert rules == ()
    assert str(found[0]) == 'rule "a": when: 1:1: unknown signal "motor.tmp"; did you mean "motor.temp"?'


@pytest.mark.parametrize(
    "when",
    [
        "true", "1 < 2", "motor.temp > 1 || true", "motor.temp > 1 && false", "!(motor.on || true)",
        "motor.temp > 1.0 / 0.0", "motor.on && 1 / 0 == 1", "has(motor.on) ? false : false",
    ],
)  # fmt: skip
def test_a_rule_that_can_never_change_is_refused(scope, when):
    assert ("when", True) in problems(scope, RuleSpec("a", when))


@pytest.mark.parametrize(
    ("when", "independent"),
    [
        ("bearing.score > 0.8", False),
        ("bearing.score > 0.8 && motor.temp > 60", False),
        ("bearing.bad ? motor.on : motor.on", False),
        ("!(motor.on || bearing.bad) && bearing.bad", False),
        ("motor.temp > 90 && bearing.score * 0.0 == 0.0", False),
        ('mean(bearing.score, "5m") > 0.5', False),
        ("motor.temp > bearing.score", False),
        ("(motor.on && motor.temp > 90 || bearing.bad) && bearing.score > 0.1", False),
        ("has(bearing.score) && bearing.score > 0.8", False),
        ("motor.temp > 90 || bearing.score > 0.8", True),
        ("!(bearing.bad && motor.on)", True),
        ("motor.on ? motor.temp > 90 : bearing.bad", True),
        ("has(bearing.score) ? bearing.score > 0.8 : motor.temp > 80", True),
        ("!has(bearing.score)", True),
        ('absent(bearing.score, "30s") && motor.on', True),
    ],
)
def test_a_rule_must_be_able_to_fire_without_its_model_or_say_what_happens_then(scope, when, independent):
    assert problems(scope, RuleSpec("a", when)) == ([] if independent else [("when", True)])
    assert problems(scope, RuleSpec("a", when, otherwise="motor.temp > 90")) == []
    assert problems(scope, RuleSpec("a", when, otherwise="false")) == []


def test_an_otherwise_that_needs_the_model_as_well_is_refused(scope):
    assert problems(scope, RuleSpec("a", "bearing.bad", otherwise="bearing.score > 1.0")) == [("otherwise", True)]


def test_a_clear_that_cannot_be_true_is_refused(scope):
    assert problems(scope, RuleSpec("a", "motor.on", clear="motor.temp < 5 && false")) == [("clear", True)]


def test_a_shadowed_rule_is_a_warning_however_it_is_spelt(scope):
    same = [RuleSpec("a", "motor.temp>80&&motor.on"), RuleSpec("b", "(motor.temp > 80.0) && motor.on // x")]
    rules, (problem,) = compile_rules(same, scope)
    assert not problem.is_error
    assert '"a"' in problem.message
    assert len(rules) == 2


def test_acting_on_a_threshold_without_steadying_it_is_refused_unless_it_is_meant(scope):
    bare = RuleSpec("a", "motor.temp > 80", actions=("stop",))
    assert problems(scope, bare) == [("actions", True)]
    for steady in ({"for_ns": 1}, {"deliberate": True}, {"clear": "motor.temp < 70"}, {"latch": True}):
        assert problems(scope, RuleSpec("a", "motor.temp > 80", actions=("stop",), **steady)) == []
    assert problems(scope, RuleSpec("a", "motor.on", actions=("stop",))) == []


NAMES = "pqrs"  # p, q: from a model
texts = st.recursive(
    st.sampled_from([*NAMES, "true", "false", "has(p)", "has(r)", "(1 / 0 == 1)"]),
    lambda inner: (
        inner.map(lambda text: f"!({text})")
        | st.tuples(inner, st.sampled_from(["&&", "||", "==", "!="]), inner).map(lambda p: "({} {} {})".format(*p))
        | st.tuples(inner, inner, inner).map(lambda p: "({} ? {} : {})".format(*p))
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(texts)
def test_what_the_analysis_calls_impossible_never_happens(text):
    scope = Scope()
    for name in NAMES:
        scope.define(name, Type.BOOL, from_model=name in "pq")
    program = compile_expression(text, scope)
    possible = outcomes(program.tree, from_model)
    names = {True: Outcomes.TRUE, False: Outcomes.FALSE, UNKNOWN: Outcomes.UNKNOWN}
    for r, s in product((True, False, UNKNOWN), repeat=2):
        assert names[program.evaluate([UNKNOWN, UNKNOWN, r, s])] & possible


@settings(max_examples=300, deadline=None)
@given(texts)
def test_knowing_more_never_changes_what_was_decided(text):
    scope = Scope()
    for name in NAMES:
        scope.define(name, Type.BOOL)
    if "has(" in text:
        return
    program = compile_expression(text, scope)
    for row in product((True, False, UNKNOWN), repeat=4):
        decided = program.evaluate(row)
        for index in range(4):
            if decided is not UNKNOWN and row[index] is UNKNOWN:
                for value in (True, False):
                    assert program.evaluate([*row[:index], value, *row[index + 1 :]]) is decided
