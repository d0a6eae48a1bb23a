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
