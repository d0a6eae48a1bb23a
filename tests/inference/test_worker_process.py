"""A worker ends with its agent, whatever it is doing, and never waits for somebody to read its stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.children import Child
from edge_agent.inference.probe import probe

from . import onnx_bytes
from .lane_rig import DirectSpawner, wait_gone
from .packages import plain_package

ROOT = Path(__file__).parents[2]
AGENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from inference.lane_rig import LaneRig
with LaneRig(Path(sys.argv[2])) as rig:
    rig.ask(1, 2, 3, 4)
    if sys.argv[3] == "busy":
        rig.window(1000, 0, 0, 0)
        time.sleep(0.2)
    print(rig.worker.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_no_worker_outlives_an_agent_that_is_killed(tmp_path: Path, state: str) -> None:
    """Busy: in a model that never ends, where nobody looks at a socket."""
    kill_agent(plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=60_000), state)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_killed_agents_leave_no_worker(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=60_000)
    for _ in range(100):
        kill_agent(package, "busy")


def kill_agent(package: Path, state: str) -> None:
    argv = [sys.executable, "-c", AGENT, str(ROOT / "tests"), str(package), state]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as agent:
        assert agent.stdout is not None
        child = int(agent.stdout.readline())
        os.kill(child, 0)
        agent.kill()
    wait_gone(child, 2.0)


def test_child_whose_parent_is_gone_before_it_looks_ends_at_once() -> None:
    """The parent died between the fork and the call that asks for its death signal."""
    program = "import sys; from edge_agent.children import die_with; die_with(int(sys.argv[1])); sys.exit(7)"
    for parent, code in ((os.getpid(), 7), (1 << 22, 0)):
        done = subprocess.run([sys.executable, "-c", program, str(parent)], check=False, cwd=ROOT)
        assert done.returncode == code


def noisy_child(tmp_path: Path, program: str) -> Child:
    (tmp_path / "noisy.py").write_text("import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\n" + program)
    return Child(DirectSpawner(), "noisy", (), {"PYTHONPATH": str(tmp_path)})


def test_child_that_floods_its_stderr_does_not_hang_and_its_last_words_are_kept(tmp_path: Path) -> None:
    child = noisy_child(
        tmp_path,
        "for n in range(40):\n    sys.stderr.write('x' * 50_000 + '\\n')\n"
        "sys.stderr.write('INFO: not this\\nboom: \\x1b[31mred\\nWARNING: nor this\\n')\ns.sendall(b'done')\n",
    )
    child.socket.settimeout(0.05)
    end = time.monotonic() + 10
    said = b""
    while not said and time.monotonic() < end:
        child.drain()
        try:
            said = child.socket.recv(10)
        except TimeoutError:
            continue
    assert said == b"done"
    ending = child.ended(5.0)
    assert ending == "it ended with exit code 0, last words: boom: \\x1b[31mred"
    assert child.rss_bytes() == 0


def test_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    child = noisy_child(tmp_path, "import time\ns.sendall(b'x')\ntime.sleep(60)\n")
    child.socket.recv(1)
    assert child.alive
    assert child.rss_bytes() > 5_000_000
    assert child.kill() == f"it died of {signal.Signals.SIGKILL.name}"
    assert child.kill() == f"it died of {signal.Signals.SIGKILL.name}"
    assert not child.alive


def test_probe_tells_a_runtime_that_works_from_one_that_does_not() -> None:
    assert probe("onnxruntime").usable
    assert probe("onnxruntime").reason.startswith("onnxruntime 1.")
    missing = probe("no_such_runtime")
    assert not missing.usable
    assert "exit code 1" in missing.reason
    assert not probe("onnxruntime", timeout_s=0.001).usable


def test_probe_finds_a_tflite_runtime() -> None:
    found = [probe(name) for name in ("ai_edge_litert", "tflite_runtime")]
    if not any(p.usable for p in found):
        pytest.skip("; ".join(p.reason for p in found))
    broken = [p for p in found if not p.usable]
    assert all("No module named" in p.reason for p in broken)
