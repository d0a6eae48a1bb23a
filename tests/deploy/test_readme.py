"""README's own site file: whoever copies it has a site without problems."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge_agent.assembly import MODELS_DIR, assemble

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_site_file_of_the_readme_has_no_problems(tmp_path: Path) -> None:
    if not (MODELS_DIR / "motor-anomaly").is_dir():
        pytest.skip("no models/ in this installation")
    section = README.read_text(encoding="utf-8").partition("\n## A site file\n")[2].partition("\n## ")[0]
    block = "\n".join(re.findall(r"^ {4}(.*)$", section, re.MULTILINE))
    assert "[[rule]]" in block
    path = tmp_path / "site.toml"
    path.write_text(block, encoding="utf-8")
    assert [str(problem) for problem in assemble(path).warnings] == []


def test_the_users_file_makes_whom_the_unit_runs_as() -> None:
    deploy = README.parent / "deploy"
    unit = (deploy / "edge-agent.service").read_text(encoding="utf-8")
    made = {tuple(line.split()[:2]) for line in (deploy / "edge-agent.sysusers").read_text().splitlines()}
    user, group = (re.search(rf"^{key}=(.*)$", unit, re.MULTILINE) for key in ("User", "Group"))
    assert user
    assert group
    assert user[1] == group[1]
    assert ("u", user[1]) in made
    assert ("g", "edge-agent-operators") in made


def test_every_extra_for_users_is_in_the_table() -> None:
    extras = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = set(re.findall(r"^\| `([a-z-]+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert extras.keys() - {"demo", "dev"} <= table
