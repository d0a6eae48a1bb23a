"""`scripts/venv`, with a Python that only plays at making environments."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
case "$*" in
  *ensurepip*) ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *install*)
    mkdir pip-is-at-work || exit 1
    for _ in $(seq 600); do [ -e go ] && break; sleep 0.05; done
    echo "$*" >>installed
    rmdir pip-is-at-work ;;
esac
"""


def locked_twice(folder: Path) -> bool:
    """Whether somebody waits for the lock on it."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(f":{folder.stat().st_ino} " in line for line in waiting)


@pytest.mark.skipif(not (shutil.which("flock") and Path("/proc/locks").exists()), reason="no flock here")
def test_environment_that_is_asked_for_twice_at_once_is_made_once(tmp_path: Path) -> None:
    for name, text in (("requirements/dev.lock", ""), ("pyproject.toml", ""), ("python", PYTHON)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "venv", tmp_path / "scripts")
    (tmp_path / "python").chmod(0o755)

    call = [tmp_path / "scripts" / "venv", "dev", tmp_path / "python"]
    first = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pip-is-at-work").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    while second.poll() is None and not locked_twice(tmp_path / ".venv") and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "go").touch()

    wanted = f"{tmp_path}/.venv/bin/python\n"
    assert [process.communicate(timeout=30)[0] for process in (first, second)] == [wanted, wanted]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len((tmp_path / "installed").read_text().splitlines()) == 2
