"""LANGUAGE.md is what users go by: it names every function, every deviation, and its examples load."""

import tomllib
from pathlib import Path

import pytest

import edge_agent.rules
from edge_agent.durations import parse_duration
from edge_agent.rules import RuleSpec, Scope, Type, compile_rules
from edge_agent.rules.functions import EXTREMES, FUNCTIONS, METHODS
from edge_agent.rules.lexer import MAX_EXPRESSION_CHARS
from edge_agent.rules.parser import MAX_NODES
from edge_agent.rules.windows import WINDOW_FUNCTIONS

PAGE = Path(edge_agent.rules.__file__).with_name("LANGUAGE.md").read_text()


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *METHODS, *EXTREMES, *WINDOW_FUNCTIONS, "has", "dyn"}))
def test_every_function_is_documented(name):
    assert f"`{name}" in PAGE or f".{name}(" in PAGE


def test_the_limits_are_documented():
    assert f"{MAX_EXPRESSION_CHARS:,} characters" in PAGE
    assert f"{MAX_NODES:,}" in PAGE


def test_the_example_loads_without_a_problem():
    (rule,) = tomllib.loads(PAGE.split("```toml\n")[1].split("```")[0])["rule"]
    rule["for_ns"] = parse_duration(rule.pop("for"))
    rule["actions"] = tuple(rule["actions"])
    scope = Scope()
    scope.define("motor.temp", Type.DOUBLE)
    scope.define("bearing.score", Type.DOUBLE, from_model=True)
    assert compile_rules([RuleSpec(**rule)], scope)[1] == ()
