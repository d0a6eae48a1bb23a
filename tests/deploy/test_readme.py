"""README's own site file: whoever copies it has a site without problems."""

from __future__ import annotations

import re
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
