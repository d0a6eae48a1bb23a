"""compile_rules: rules as written to rules that run, or all that is wrong with them."""

from collections.abc import Iterator, Sequence

from edge_agent.rules.environment import Environment, Undecided
from edge_agent.rules.errors import ExpressionError
from edge_agent.rules.outcomes import Outcomes, from_model, outcomes
from edge_agent.rules.program import Program, compile_expression
from edge_agent.rules.rule import Problem, Rule, RuleSpec
from edge_agent.rules.tree import Node


def compile_rules(specs: Sequence[RuleSpec], env: Environment) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """The rules without an error, in their order, and the problems of all. Reports every one it finds. A rule that
    reads an undecided signal is neither: only its other expressions are looked at."""
    rules: list[Rule] = []
    problems: list[Problem] = []
    ids: set[str] = set()
    conditions: dict[Node, str] = {}
    for index, spec in enumerate(specs):
        rule, found = _compile_rule(index, spec, env)
        if rule is not None:
            found += [*_doubts(index, spec, rule), *_shadowed(index, rule, conditions)]
        if spec.id in ids:
            found.append(Problem(index, spec.id, "id", "two rules have this id", "give each rule an id of its own"))
        ids.add(spec.id)
        problems += found
        if rule is not None and not any(problem.is_error for problem in found):
            rules.append(rule)
    return tuple(rules), tuple(problems)


def _compile_rule(index: int, spec: RuleSpec, env: Environment) -> tuple[Rule | None, list[Problem]]:
    programs: dict[str, Program | None] = {}
    problems: list[Problem] = []
    decided = True
    for key, text in (("when", spec.when), ("clear", spec.clear), ("otherwise", spec.otherwise)):
        try:
            programs[key] = None if text is None else compile_expression(text, env)
        except Undecided:
            decided = False
        except ExpressionError as error:
            problems.append(Problem(index, spec.id, key, error.message, error.hint, error.line, error.col))
    if spec.for_ns < 0:
        problems.append(Problem(index, spec.id, "for", "a time is not negative"))
    when = programs.get("when")
    if problems or when is None or not decided:
        return None, problems
    rule = Rule(
        spec.id, when, spec.for_ns, programs["clear"], programs["otherwise"],
        spec.severity, spec.latch, spec.actions,
    )  # fmt: skip
    return rule, problems


def _shadowed(index: int, rule: Rule, conditions: dict[Node, str]) -> Iterator[Problem]:
    """`conditions`: the rule that has a condition first; gains that of `rule`."""
    first = conditions.setdefault(rule.when.tree, rule.id)
    if first != rule.id:
        yield Problem(
            index, rule.id, "when", f'says the same as rule "{first}"', "keep one of the two", is_error=False
        )


def _doubts(index: int, spec: RuleSpec, rule: Rule) -> Iterator[Problem]:
    """What is wrong with a rule whose expressions all compile."""
    when = _doubt_when(rule)
    if when:
        yield Problem(index, rule.id, "when", *when)
    if rule.clear is not None and Outcomes.TRUE not in outcomes(rule.clear.tree, _nothing):
        yield Problem(index, rule.id, "clear", "can never be true", "once raised the rule would stay raised")
    if not when and _needs_model(rule.when.tree):
        yield from _doubt_otherwise(index, rule)
    if _may_flap(rule) and not spec.deliberate:
        message = "acts on a threshold without for, clear or latch: the actuator may chatter"
        hint = 'add clear = "..." or for = "5s"; for = "0s" says that it may switch with every reading'
        yield Problem(index, rule.id, "actions", message, hint)


def _doubt_when(rule: Rule) -> tuple[str, str] | None:
    possible = outcomes(rule.when.tree, _nothing)
    if not rule.when.reads:
        return "reads no signal: it never changes", "compare a signal with something"
    if possible == Outcomes.TRUE:
        return "is always true", "a part of it does not depend on any signal"
    if possible == Outcomes.UNKNOWN:
        return "is always unknown", "a part of it cannot be computed, such as a division by 0"
    if not possible & Outcomes.TRUE:
        return "can never be true", "a part of it does not depend on any signal"
    return None


def _doubt_otherwise(index: int, rule: Rule) -> Iterator[Problem]:
    """`when` cannot be true without its model: something else must decide then."""
    models = ", ".join(signal.name for signal in rule.when.reads if signal.from_model)
    if rule.otherwise is None:
        message = f"cannot be true while {models} is unknown, and there is no otherwise"
        hint = 'add an independent branch (... || motor.temp > 90) or otherwise = "..."'
        yield Problem(index, rule.id, "when", message, hint)
    elif rule.otherwise.reads and _needs_model(rule.otherwise.tree):
        message = f"cannot be true either while {models} is unknown"
        hint = 'decide by signals that come from no model, or say otherwise = "false"'
        yield Problem(index, rule.id, "otherwise", message, hint)


def _needs_model(tree: Node) -> bool:
    return Outcomes.TRUE not in outcomes(tree, from_model)


def _may_flap(rule: Rule) -> bool:
    steadied = rule.for_ns or rule.clear is not None or rule.latch
    return bool(rule.actions) and not steadied and any(signal.type.is_number for signal in rule.when.reads)


def _nothing(_: object) -> bool:
    return False
