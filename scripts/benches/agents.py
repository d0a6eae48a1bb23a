"""The real agent as a process of its own, on the tests' harness, and what the kernel says of it and its workers."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.doubles.mosquitto import PROGRAM as MOSQUITTO  # noqa: E402
from tests.doubles.mosquitto import Mosquitto  # noqa: E402
from tests.e2e.harness import RunningAgent, site_text, wait_until  # noqa: E402

__all__ = [
    "DATA", "MOSQUITTO", "Mosquitto", "RunningAgent", "cpu_s", "rss_mb", "site_text", "wait_until", "worker_pids",
]  # fmt: skip

_CLOCK_TICK_S = 0.01


def worker_pids(agent: int) -> list[int]:
    """Of the model workers of this agent, without asking it."""
    found = []
    for task in Path(f"/proc/{agent}/task").iterdir():
        for pid in _text(task / "children").split():
            if "edge_agent.inference.worker" in _text(Path(f"/proc/{pid}/cmdline")):
                found.append(int(pid))
    return found


def rss_mb(pid: int) -> float:
    """Resident memory in MB of 10^6 bytes, as the bare loop has it."""
    return _status(pid, "VmRSS") / 1e3 * 1.024


def cpu_s(pid: int) -> float:
    """User and system time so far; the kernel counts it in hundredths of a second."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _CLOCK_TICK_S


def _status(pid: int, key: str) -> int:
    lines = _text(Path(f"/proc/{pid}/status")).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def _text(path: Path) -> str:
    """Empty where the process is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

