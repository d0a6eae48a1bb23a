"""`pip install .` gives the command, with everything it needs in the wheel."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_installed_wheel_gives_the_command(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    # what the wheel needs, without asking a package index; .pth files of that folder do not count
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    (site / "needs.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    version = outside(tmp_path, venv / "bin" / "edge-agent", "--version")
    assert version.stdout.startswith("edge-agent 0."), version.stderr
    checked = outside(tmp_path, venv / "bin" / "edge-agent", "check", ROOT / "deploy" / "site.example.toml")
    assert checked.returncode == 0, checked.stderr


def outside(folder: Path, *argv: Path | str) -> subprocess.CompletedProcess[str]:
    """Run where the checkout is not at hand."""
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_wheel_holds_types_and_both_packages_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "edge_agent/py.typed" in names
    assert "firmware_bridge/session.py" in names
    assert "edge_agent/fleet/migrations/0001_tables.sql" in names
    assert "edge_agent/models/meter-digits/1.0.0/manifest.toml" in names
    assert "edge_agent/contract/published/asyncapi.json" in names
    assert "edge_agent/contract/published/schemas/tele-1.schema.json" in names
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]
