"""The bad rule inputs 61 to 70: refused when the file is loaded, with place and reason, in under a second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge_agent.assembly import assemble
from edge_agent.config.problems import ConfigError, Problem

HEAD = """
[agent]
gateway = "gw"
[[source]]
name = "motor"
kind = "simulated"
[[actuator]]
name = "press"
kind = "log"
"""


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    site = folder / "site.toml"
    site.write_text(HEAD + text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(ConfigError) as refused:
        assemble(site)
    assert time.process_time() - began < 1.0
    for problem in refused.value.problems:
        assert problem.line > 0
        assert len(str(problem)) < 1000
    return refused.value.problems


def rule(when: str, more: str = "") -> str:
    return f"[[rule]]\nid = \"r\"\nwhen = '''{when}'''\n{more}\n"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        pytest.param("motor.tmp > 80", 'did you mean "motor.temp"', id="61-unknown-signal"),
        pytest.param("sise('a') > 0", 'did you mean "size"', id="61-unknown-function"),
        pytest.param("motor.__class__ == 'x'", "", id="62-attribute"),
        pytest.param("''.__class__.__mro__", "", id="62-attribute-of-a-text"),
        pytest.param("'aaaa'.matches('(a+)+$')", "", id="63-regex"),
        pytest.param("(" * 10_000 + "true" + ")" * 10_000, "", id="64-nested"),
        pytest.param("motor.temp > 1 || " * 20_000 + "true", "", id="64-long"),
        pytest.param("1 / 0 > 1", "", id="65-division-by-zero-always"),
        pytest.param("motor.temp > 'hot'", "", id="66-text-against-number"),
        pytest.param("9**9**9 > motor.temp", "", id="67-power"),
        pytest.param("1 << 1000000000 > 1", "", id="67-shift"),
        pytest.param("'a' * 1000000000 == 'b'", "", id="67-repeated-text"),
        pytest.param("mean(motor.temp, '0s') > 1", "", id="69-window-of-nothing"),
        pytest.param("mean(motor.temp, '-1s') > 1", "", id="69-window-below-nothing"),
        pytest.param("mean(motor.temp, '3650d') > 1", "", id="69-window-of-ten-years"),
    ],
)
def test_expression_is_refused_with_its_place(tmp_path: Path, when: str, said: str) -> None:
    found = problems(tmp_path, rule(when))
    assert any(said in str(p) and ("when" in p.key or "longer than" in p.reason) for p in found), found


BOARD = '[[source]]\nname = "cold"\nkind = "serial_bridge"\ndevice = "/dev/serial/by-id/cold"\n'
DECLARE = "declare it in the fields of source cold"


@pytest.mark.parametrize(
    ("fields", "when", "hint"),
    [
        pytest.param("", "cold.temp > 8", DECLARE, id="none-declared"),
        pytest.param('fields = { door = { type = "bool" } }\n', "cold.temp > 8", DECLARE, id="another-declared"),
        pytest.param("fields = { temp = {} }\n", "cold.tmp > 8", 'did you mean "cold.temp"?', id="misspelt"),
        pytest.param("", "motor.cold > 8", "", id="of-a-source-that-knows-its-fields"),
    ],
)
def test_a_boards_stream_without_fields_is_refused_with_what_to_declare(
    tmp_path: Path, fields: str, when: str, hint: str
) -> None:
    (found,) = problems(tmp_path, BOARD + fields + rule(when))
    assert "unknown signal" in found.reason
    assert found.hint == hint or (not hint and "fields" not in found.hint)


def test_65_division_by_zero_and_nan_at_run_time_are_unknown(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(HEAD + rule("motor.temp / (motor.load - motor.load) > 1.0"), encoding="utf-8")
    assert assemble(site).plan.rules[0].when.evaluate([20.0] * assemble(site).plan.size).__repr__() == "unknown"


def test_68_cycle_of_signals_is_refused(tmp_path: Path) -> None:
    pair = (("motor.a", "motor.b"), ("motor.b", "motor.a"))
    text = "".join(f'[[signal]]\nname = "{a}"\nof = "{b}"\nfn = "mean"\nwindow = "5s"\n' for a, b in pair)
    assert problems(tmp_path, text)


@pytest.mark.parametrize("window", ["0s", "-1s", "3650d"])
def test_69_window_out_of_range_is_refused(tmp_path: Path, window: str) -> None:
    found = problems(
        tmp_path, f'[[signal]]\nname = "motor.a"\nof = "motor.temp"\nfn = "mean"\nwindow = "{window}"\n'
    )
    assert any("window" in p.key for p in found)


def test_70_same_id_twice_names_both_lines(tmp_path: Path) -> None:
    found = problems(tmp_path, rule("motor.temp > 80") + rule("motor.temp > 90"))
    assert any('"r"' in str(p) and "line" in str(p) for p in found), found


def test_70_shadowed_rule_is_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    again = rule("motor.temp > 80").replace('"r"', '"again"')
    site.write_text(HEAD + rule("motor.temp > 80") + again, encoding="utf-8")
    assert any("says the same" in w.reason for w in assemble(site).warnings)


def test_70_actuation_without_hysteresis_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    acts = 'actions = [{ set = "press.relay", value = 0 }]'
    assert any("chatter" in p.reason for p in problems(tmp_path, rule("motor.temp > 80", acts)))
    meant = tmp_path / "meant.toml"
    meant.write_text(HEAD + rule("motor.temp > 80", 'for = "0s"\n' + acts), encoding="utf-8")
    assert assemble(meant).warnings == ()
