"""`check` says everything that is wrong, with its place, the verdict first, and opens nothing."""

from __future__ import annotations

from pathlib import Path

from cli.command import SITE, edge_agent, write_site
from cli.test_status import keys_documented


def test_site_that_can_run_is_ok(tmp_path: Path) -> None:
    done = edge_agent("check", write_site(tmp_path))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"OK   {tmp_path}/site.toml: 1 warning\n")
    assert 'rule "fast": alert: warning: ' in done.out
    assert list(tmp_path.iterdir()) == [tmp_path / "site.toml"]


def test_every_problem_is_told_with_place_and_hint(tmp_path: Path) -> None:
    text = SITE.replace("press.relay", "pres.relay").replace("motor.temp", "motor.tmp")
    done = edge_agent("check", write_site(tmp_path, text))
    assert done.code == 2
    assert done.cpu_s < 1.0
    verdict, *problems = done.out.splitlines()
    assert verdict == f"FAIL {tmp_path}/site.toml: 2 errors, 1 warning"
    assert len(problems) == 3
    places = [problem.removeprefix(f"{tmp_path}/site.toml:").split(":")[0] for problem in problems]
    assert places == sorted(places, key=int)
    for hint in ('did you mean "press"?', 'did you mean "motor.temp"?'):
        assert any(hint in problem for problem in problems), hint


def test_json_holds_the_same_problems_in_fields(tmp_path: Path) -> None:
    site = write_site(tmp_path, SITE.replace("motor.temp", "motor.tmp"))
    told = edge_agent("check", site, "--json").document
    assert told["ok"] is False
    problem = next(p for p in told["problems"] if p["severity"] == "error")
    assert keys_documented("check") >= problem.keys() | told.keys()
    line = site.read_text().splitlines()[problem["line"] - 1]
    assert "motor.tmp" in line


def test_undeclared_input_of_a_model_is_told_once_and_resembles_no_other_field(tmp_path: Path) -> None:
    model = '\n[[model]]\nname = "m"\npackage = "motor-anomaly/1.0.0"\ninput = ["line.load", "line.temp"]\n'
    line = '\n[[source]]\nname = "line"\nkind = "serial_lines"\ndevice = "/dev/ttyX"\nfields = { temp = {} }\n'
    site = write_site(tmp_path, SITE + line + model)
    told = [p for p in edge_agent("check", site, "--json").document["problems"] if "line.load" in p["reason"]]
    assert [p["reason"] for p in told] == ['names nothing: "line.load"']
    assert told[0]["hint"] == 'declare it in the fields of "line"; known: "temp"'


def errors(site: Path) -> list[str]:
    return [p["reason"] for p in edge_agent("check", site, "--json").document["problems"] if p["severity"] == "error"]


def test_rules_are_checked_beside_wrong_values_elsewhere_and_in_themselves(tmp_path: Path) -> None:
    wrong = SITE.replace('gateway = "', 'gateway = "/').replace("speed > 1000", "sped > 1000")
    done = edge_agent("check", write_site(tmp_path, wrong.replace('severity = "critical"', 'severity = "dire"')))
    assert done.code == 2
    for told in ("agent.gateway: ", 'rule "hot": severity: ', 'did you mean "motor.speed"?'):
        assert told in done.out
    assert "was not checked" not in done.out
    half = wrong.replace("motor.temp > 60", "motor.temp > ").replace('severity = "critical"', 'severity = "dire"')
    assert len(errors(write_site(tmp_path, half))) == 4


OTHER = """
[[source]]
name = "line"
kind = "serial_lines"
device = "/dev/ttyX"
fields = { level = {} }

[[signal]]
name = "line.mean"
of = "line.level"
fn = "mean"
window = "5s"

[[rule]]
id = "full"
when = "line.mean > 3 || line.level > 9"
for = "1s"
clear = "motor.tmp < 1"
"""


def test_a_rule_is_not_blamed_for_the_source_that_it_reads(tmp_path: Path) -> None:
    site = write_site(tmp_path, SITE + OTHER.replace('device = "/dev/ttyX"', "device = 3"))
    found = edge_agent("check", site, "--json").document["problems"]
    assert [p["reason"] for p in found if p["severity"] == "error"] == [
        "must be a text, found 3", 'unknown signal "motor.tmp"',
    ]  # fmt: skip
    last = found[-1]
    assert last["reason"] == 'what reads "line.mean" was not checked'
    assert (last["hint"], last["severity"]) == ("correct these first", "warning")


def test_a_rule_is_not_blamed_for_a_statement_that_cannot_be_read(tmp_path: Path) -> None:
    other = OTHER.replace("motor.tmp", "motor.temp").replace('name = "line.mean"', "name = ")
    site = write_site(tmp_path, SITE + other)
    assert len(errors(site)) == 1
