"""`rules test`: a user's cases hold or fail as their rules would, and what is wrong in a case is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from inference.packages import MODELS, ae_package

from cli.command import Done, edge_agent, in_process

SITE = """
[agent]
gateway = "gw1"

[[source]]
name = "motor"
kind = "serial_lines"
device = "/dev/ttyUSB0"
stale_after = "30s"
fields.temp = { unit = "Cel", max = 200 }
fields.running = { type = "bool" }

[[signal]]
name = "motor.temp_min"
of = "motor.temp"
fn = "min"
window = "1m"

[[actuator]]
name = "press"
kind = "log"

[[rule]]
id = "overheat"
when = "motor.temp > 90 || (bearing.score > 0.8 && bearing.trusted)"
for = "10s"
clear = "motor.temp < 75"
severity = "critical"
actions = [{ set = "press.relay", value = 0, else_value = 1 }]

[[rule]]
id = "jam"
when = "motor.running && motor.temp > 100"
latch = true
actions = [{ set = "press.mode", value = "off" }, { set = "press.relay", value = false }]
"""
MODEL = """
[[model]]
name = "bearing"
package = "bearing"
input = ["motor.temp"]
"""
CASES = """
[[case]]
name = "a hot motor stops the press, with or without the model"
[[case.steps]]
at = "0s"
set = { "motor.temp" = 20.0 }
down = ["bearing"]
expect = { overheat = "normal" }
[[case.steps]]
at = "5s"
set = { "motor.temp" = 95.0 }
expect = { overheat = "pending" }
actions = []
[[case.steps]]
at = "15s"
expect = { overheat = "raised" }
actions = ["press.relay = 0"]
[[case.steps]]
at = "20s"
set = { "motor.temp" = 74 }
up = ["bearing"]
[[case.steps]]
at = "21s"
set = { "bearing.score" = 0.1 }
expect = { overheat = "normal" }
actions = ["press.relay = 1"]

[[case]]
name = "the model alone raises it, while it is trusted"
[[case.steps]]
at = "0s"
set = { "motor.temp" = 20.0, "bearing.score" = 0.9 }
[[case.steps]]
at = "9s"
set = { "bearing.score" = 0.9 }
expect = { overheat = "pending" }
[[case.steps]]
at = "10s"
expect = { overheat = "raised" }

[[case]]
name = "a jam stays until somebody resets it"
[[case.steps]]
at = "0s"
set = { "motor.running" = true, "motor.temp" = 101.0 }
expect = { jam = "raised" }
actions = ["press.mode = off", "press.relay = false"]
[[case.steps]]
at = "1s"
set = { "motor.running" = false }
expect = { jam = "latched" }
[[case.steps]]
at = "40s"
expect = { jam = "latched" }

[[case]]
name = "nothing heard for long is unknown"
[[case.steps]]
at = "0s"
set = { "motor.temp" = 20.0, "motor.running" = true }
expect = { jam = "normal" }
[[case.steps]]
at = "31s"
expect = { jam = "unknown", overheat = "unknown" }
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    if not (MODELS / "ae_fp32.onnx").exists():
        pytest.skip("../shared/data/models is not here")
    ae_package(tmp_path / "bearing")
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace("[[signal]]", MODEL + "[[signal]]", 1))
    return path


def run(site: Path, cases: str, *options: str) -> Done:
    path = site.with_name("cases.toml")
    path.write_text(cases)
    return edge_agent("rules", "test", site, path, *options)


def test_cases_that_hold_pass(site: Path) -> None:
    done = run(site, CASES)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "OK   4 passed, 0 failed",
        "OK   a hot motor stops the press, with or without the model",
        "OK   the model alone raises it, while it is trusted",
        "OK   a jam stays until somebody resets it",
        "OK   nothing heard for long is unknown",
    ]


def test_case_that_fails_says_when_what_and_what_the_rule_knew(site: Path) -> None:
    wrong = CASES.replace('actions = ["press.relay = 0"]', 'actions = ["press.relay = 1"]').replace(
        'expect = { overheat = "pending" }', 'expect = { overheat = "raised" }', 1
    )
    done = run(site, wrong)
    assert done.code == 1
    assert done.out.splitlines()[:4] == [
        "FAIL 3 passed, 1 failed",
        "FAIL a hot motor stops the press, with or without the model",
        "     at 5s: overheat is pending, expected raised; motor.temp = 95.0, bearing.score unknown, "
        "bearing.trusted = False",
        "     at 15s: actions were ['press.relay = 0'], expected ['press.relay = 1']",
    ]
    told = run(site, wrong, "--json").document
    assert told["ok"] is False
    assert [case["ok"] for case in told["cases"]] == [False, True, True, True]
    assert told["cases"][0]["failures"][1].startswith("at 15s: actions were")


def test_rule_that_acts_at_the_start_does_so_in_the_first_step(site: Path) -> None:
    site.write_text(site.read_text() + '[[rule]]\nid = "on"\nwhen = "health.press"\nlatch = true\n'
                    'actions = [{ set = "press.lamp", value = 1 }]\n')  # fmt: skip
    first = '[[case]]\nname = "x"\n[[case.steps]]\nat = "1s"\nactions = ["press.lamp = 1"]\n'
    done = run(site, first + '[[case.steps]]\nat = "2s"\nactions = []\n')
    assert done.code == 0, done


CASE = '[[case]]\nname = "x"\n[[case.steps]]\nat = "1s"\n'


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        (CASE + 'set = { "motor.tmp" = 1 }', 'case "x": no field or model output "motor.tmp"; did you mean'),
        (CASE + 'set = { "motor.temp_min" = 1 }', '"motor.temp_min"; did you mean "motor.temp"?'),
        (CASE + 'set = { "bearing.trusted" = true }', 'no field or model output "bearing.trusted"'),
        (CASE + 'expect = { overhet = "raised" }', 'no rule "overhet"; did you mean "overheat"?'),
        (CASE + 'expect = { overheat = "rised" }', 'no state of a rule "rised"; did you mean "raised"?'),
        (CASE + 'down = ["baring"]', 'no model or part "baring"; did you mean "bearing"?'),
        (CASE + '[[case.steps]]\nat = "0s"', 'at = "0s" is before the step above it; put the steps in'),
        (CASE.replace("1s", "soon"), 'case "x": at: \'soon\' is not a duration; write a whole number and one unit'),
        (CASE + "expct = {}", "Object contains unknown field `expct`"),
        ('[[case]]\nname = "x"', "Object missing required field `steps`"),
        ("[[case]", "Expected ']]'"),
        ("", "Object missing required field `case`"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_wrong_in_a_case_is_named_with_a_hint(site: Path, cases: str, told: str) -> None:
    path = site.with_name("cases.toml")
    path.write_text(cases)
    done = in_process("rules", "test", site, path)
    assert done.code == 2, done
    assert told in done.err


def test_site_that_cannot_run_is_told_as_by_check(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    done = run(site, CASES)
    assert done.code == 2
    assert 'unknown signal "bearing.score"' in done.err
