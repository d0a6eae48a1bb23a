"""The rules of a site together: same results as stepping every rule at every change, at the cost of the few."""

import random

import pytest

from edge_agent.rules import UNKNOWN, Outcome, Phase, RuleMachine, RuleSet, RuleSpec, Scope, Type, compile_rules

RULES = 40
SIGNALS = 20


def site(rng):
    scope = Scope()
    for n in range(SIGNALS):
        scope.define(f"s{n}", Type.INT)
    specs = [
        RuleSpec(
            f"r{n}",
            f"s{rng.randrange(SIGNALS)} > 3 && s{rng.randrange(SIGNALS)} > 1",
            for_ns=rng.choice([0, 3, 10]),
            clear=rng.choice([None, f"s{rng.randrange(SIGNALS)} < 2"]),
            otherwise=rng.choice([None, f"s{rng.randrange(SIGNALS)} > 4"]),
            latch=rng.random() < 0.2,
        )
        for n in range(RULES)
    ]
    rules, problems = compile_rules(specs, scope)
    assert not [p for p in problems if p.is_error]
    return rules


@pytest.mark.parametrize("seed", range(20))
def test_stepping_what_changed_gives_the_same_as_stepping_everything(seed):
    rng = random.Random(seed)
    rules = site(rng)
    some, every = RuleSet(rules), [RuleMachine(rule) for rule in rules]
    values = [UNKNOWN] * SIGNALS
    got = some.step(values, 0, range(SIGNALS))
    wanted = [t for machine in every for t in machine.step(values, 0)]
    now = 0
    for _ in range(300):
        now += rng.randrange(4)
        changed = rng.sample(range(SIGNALS), rng.randrange(3))
        for slot in changed:
            values[slot] = rng.choice([UNKNOWN, 0, 1, 2, 3, 4, 5])
        got += some.step(values, now, changed)
        wanted += [t for machine in every for t in machine.step(values, now)]

    def order(t):
        return (t.rule, t.at_ns)

    assert sorted(got, key=order) == sorted(wanted, key=order)
    assert some.phases == {machine.rule.id: machine.phase for machine in every}


def test_two_runs_give_the_same_transitions_in_the_same_order():
    def run():
        rng = random.Random(7)
        rules, values = site(rng), [UNKNOWN] * SIGNALS
        whole = RuleSet(rules)
        log = []
        for now in range(500):
            slot = rng.randrange(SIGNALS)
            values[slot] = rng.choice([UNKNOWN, 0, 5])
            log += whole.step(values, now, [slot])
        return log

    assert run() == run()
    assert len(run()) > 100


def test_only_the_rules_that_read_a_changed_signal_are_stepped(monkeypatch):
    scope = Scope()
    for n in range(1_000):
        scope.define(f"s{n}", Type.BOOL)
    rules, _ = compile_rules([RuleSpec(f"r{n}", f"s{n}") for n in range(1_000)], scope)
    whole, values, stepped = RuleSet(rules), [UNKNOWN] * 1_000, []
    step = RuleMachine.step
    monkeypatch.setattr(RuleMachine, "step", lambda m, *a: stepped.append(m.rule.id) or step(m, *a))
    values[5] = values[900] = True
    whole.step(values, 1, [900, 5])
    assert stepped == ["r5", "r900"]
    assert whole.affected([5, 6]) == ("r5", "r6")


def test_deadlines_fire_in_order_and_the_first_is_known():
    scope = Scope()
    for name in "ab":
        scope.define(name, Type.BOOL)
    rules, _ = compile_rules([RuleSpec("slow", "a", for_ns=20), RuleSpec("fast", "b", for_ns=5)], scope)
    whole = RuleSet(rules)
    assert whole.deadline() is None
    whole.step([True, True], 0, [0, 1])
    assert whole.deadline() == 5
    assert [(t.rule, t.at_ns) for t in whole.step([True, True], 100)] == [("fast", 5), ("slow", 20)]
    assert whole.deadline() is None


def test_a_flickering_condition_does_not_grow_the_queue():
    scope = Scope()
    scope.define("a", Type.BOOL)
    scope.define("b", Type.BOOL)
    # the first deadline is not stale, and hides the stale ones behind it
    rules, _ = compile_rules([RuleSpec("first", "b", for_ns=10**9), RuleSpec("r", "a", for_ns=10**15)], scope)
    whole = RuleSet(rules)
    whole.step([False, True], 0, [0, 1])
    for now in range(10_000):
        whole.step([now % 2 == 0, True], now, [0])
    assert len(whole._queue) < 100


def test_phases_survive_a_restart_and_reset_goes_by_id():
    scope = Scope()
    scope.define("a", Type.BOOL)
    rules, _ = compile_rules([RuleSpec("r", "a", latch=True)], scope)
    before = RuleSet(rules)
    before.step([True], 5, [0])
    after = RuleSet(rules, before.phases)
    after.step([False], 1, [0])
    assert after["r"].phase is Phase.LATCHED
    assert [t.outcome for t in after.reset("r", [False], 2)] == [Outcome.RESET]
    with pytest.raises(KeyError):
        after.reset("nobody", [False], 3)
