"""Rules: a closed subset of CEL with three-valued logic, and the state machine that gives it time. Pure."""

from edge_agent.rules.environment import Derived, Environment, Scope, Signal, SignalRefused
from edge_agent.rules.errors import ExpressionError
from edge_agent.rules.load import compile_rules
from edge_agent.rules.machine import Outcome, Phase, RuleMachine, Transition
from edge_agent.rules.program import Program, compile_expression
from edge_agent.rules.rule import Problem, Rule, RuleSpec
from edge_agent.rules.ruleset import RuleSet
from edge_agent.rules.values import UNKNOWN, Known, Type, Unknown, Value, admit

__all__ = [
    "UNKNOWN", "Derived", "Environment", "ExpressionError", "Known", "Outcome", "Phase", "Problem", "Program", "Rule",
    "RuleMachine", "RuleSet", "RuleSpec", "Scope", "Signal", "SignalRefused", "Transition", "Type", "Unknown",
    "Value", "admit", "compile_expression", "compile_rules",
]  # fmt: skip
