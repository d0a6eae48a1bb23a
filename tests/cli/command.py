"""The real command in a process of its own, and a small site for it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge_agent.cli.main import run as run_command

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"

SITE = """
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
event_log_mb = 4

[[source]]
name = "motor"
kind = "simulated"
rate_hz = 50
seed = 7
thermal = "1s"
faults = [{ kind = "overheating", start = "1s", ramp = "1s" }]

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "100ms"
severity = "critical"
text = "the motor is hot"
actions = [{ set = "press.relay", value = 0, else_value = 1 }]

[[rule]]
id = "fast"
when = "motor.speed > 1000"
for = "100ms"
latch = true
alert = false
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str
    cpu_s: float
    """Of all its processes: what it takes on a box that has nothing else to do, also where this one has."""

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """As in a plain shell: no colours, no width, no language."""
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM")
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "PYTHONPATH": str(ROOT), **more}


def argv(*arguments: str | bytes | Path) -> list[str | bytes | Path]:
    return [sys.executable, "-m", "edge_agent", *arguments]


def edge_agent(*arguments: str | bytes | Path, cwd: Path = ROOT, timeout_s: float = 60, **env: str) -> Done:
    """Runs it to its end, without a terminal."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        argv(*arguments), capture_output=True, cwd=cwd, env=environment(**env), timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode(), cpu_s)


def in_process(*arguments: str | Path) -> Done:
    """The same without a process of its own, where neither its time nor its end is what counts."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run_command([str(argument) for argument in arguments])
        except SystemExit as e:
            code = int(e.code or 0)
    return Done(code, out.getvalue(), err.getvalue(), 0.0)


AS_NOBODY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to ask as another user")


def as_nobody(*arguments: str | Path) -> Done:
    """Runs it as a user without any rights."""
    call = [sys.executable, "-P", Path(__file__).with_name("nobody.py"), *arguments]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    return Done(done.returncode, done.stdout, done.stderr, 0.0)


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """One that everybody may enter: those of pytest are private, and may be anywhere."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def write_site(folder: Path, text: str = SITE) -> Path:
    """The site file, with {folder} filled in."""
    site = folder / "site.toml"
    site.write_text(text.replace("{folder}", str(folder)))
    return site


def quickest(runs: int, arguments: Sequence[str]) -> Done:
    """Of several: other work on this box only makes it slower."""
    return min((edge_agent(*arguments) for _ in range(runs)), key=lambda done: done.cpu_s)
