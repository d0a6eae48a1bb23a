"""Every key of the example, mistyped: the answer names its line and the right key, and never is an exception."""

from __future__ import annotations

import re

import pytest

from deploy.test_example import COMPLETE, examine
from edge_agent.assembly import assemble
from edge_agent.config.problems import ConfigError

LINES = COMPLETE.split("\n")
IN_FIELDS = range(LINES.index("[source.fields]") + 1, LINES.index("seq = { type = \"int\" }") + 1)
KEYS = [
    (number, match[1])
    for number, line in enumerate(LINES, 1)
    if (match := re.match(r"([a-z_]+) = ", line)) and number - 1 not in IN_FIELDS
]
NASTY = (
    '"\\u0000"', '""', '"x\\n"', '"/etc/shadow"', '"/a\\u0000b"', '"\U0001f600"', f'"{"x" * 5000}"',
    '"credential:../x"', "nan", "-inf", "-1", "0", "99999999999999999999999", "1.5", "true", "1979-05-27",
    "[]", "{}", "[[]]", '[""]', "{ x = 1 }",
)  # fmt: skip
AT_ONCE = 10


def with_lines(changed: dict[int, str]) -> str:
    return "\n".join(changed.get(number, line) for number, line in enumerate(LINES, 1))


def answers(tmp_path, text: str) -> list[tuple[int, str, str]]:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    problems = examine(path).problems
    for problem in problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 700
    return [(problem.line, problem.reason, problem.hint) for problem in problems]


def test_every_key_is_there():
    assert len(KEYS) > 150


def test_a_misspelt_key_is_answered_with_its_line_and_the_right_key(tmp_path):
    for number, key in KEYS:
        line = LINES[number - 1]
        found = answers(tmp_path, with_lines({number: line.replace(key, key + "z", 1)}))
        assert (number, "unknown key", f'did you mean "{key}"?') in found, line


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", ["= { x = 1 }", '= "'], ids=["another type", "no TOML"])
def test_no_rule_is_blamed_for_another_table(tmp_path, spoilt):
    tables = {}
    for number, line in enumerate(LINES, 1):
        tables[number] = number if line.startswith("[[") else tables.get(number - 1, 0)
    site = tmp_path / "site.toml"
    for number, key in KEYS:
        site.write_text(with_lines({number: f"{key} {spoilt}"}), encoding="utf-8")
        with pytest.raises(ConfigError) as refused:
            assemble(site)
        for problem in refused.value.problems:
            mine = tables.get(problem.line or 0) == tables[number]
            blamed = problem.severity == "error" and LINES[tables.get(problem.line or 0, 0) - 1] == "[[rule]]"
            assert mine or not blamed or "there is no actuator" in problem.reason, (number, key, str(problem))


@pytest.mark.parametrize(
    "spoilt", ["otherwisez = ", "otherwise = 3 # ", "otherwise = '"], ids=["misspelt", "another type", "no TOML"]
)
def test_a_rule_of_which_a_key_is_wrong_is_not_blamed_for_its_absence(tmp_path, spoilt):
    number = next(n for n, line in enumerate(LINES, 1) if line.startswith('otherwise = "motor.load'))
    site = tmp_path / "site.toml"
    site.write_text(with_lines({number: LINES[number - 1].replace("otherwise = ", spoilt)}), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        assemble(site)
    assert [p.line for p in refused.value.problems if p.severity == "error"] == [number]


@pytest.mark.parametrize("value", NASTY, ids=lambda value: ascii(value[:12]))
def test_any_value_for_any_key_is_taken_or_refused(tmp_path, value):
    """Some keys at once, far apart, so that all come by in a few files."""
    for start in range(AT_ONCE):
        changed = {number: f"{key} = {value}" for number, key in KEYS[start::AT_ONCE]}
        answers(tmp_path, with_lines(changed))
