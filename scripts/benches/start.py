"""Start: `edge-agent --help`, and from exec to the first committed reading. Medians.

The limit is what the interpreter alone takes to start and end here and now.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from benches.agents import RunningAgent, site_text
from benches.figures import Figure
from benches.sites import streams_site
from benches.terminals import device
from edge_agent.store.database import open_reader

PROGRAM = Path(sys.executable).with_name("edge-agent")


def measure(*, quick: bool = False) -> list[Figure]:
    times = 3 if quick else 15
    bare_s = median(run_s([sys.executable, "-c", "pass"]) for _ in range(times))
    help_s = median(run_s([str(PROGRAM), "--help"]) for _ in range(times))
    first_s = median(first_commit_s() for _ in range(times))
    return [
        Figure("edge-agent --help", help_s, "s", bare_s, budget=0.15),
        Figure("start to first committed reading", first_s, "s", bare_s, budget=1.0),
    ]


def run_s(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_commit_s() -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site, lines = streams_site(50, rules=20)
        with device(folder / "port", lines, 500):
            return start_s(RunningAgent(folder, site_text(more=site)))


def start_s(agent: RunningAgent) -> float:
    """From exec until the agent says that a reading of this start is on the disk; then it is killed."""
    before = newest_row(agent.folder / "data" / "store" / "store.db")
    began = time.perf_counter()
    with agent:
        while not ((status := agent.ask("status")) and (status["store"]["newest"] or (0,))[-1] > before):
            agent.alive()
            time.sleep(0.005)
        return time.perf_counter() - began


def newest_row(database: Path) -> int:
    """Of telemetry; 0 where there is none."""
    if not database.exists():
        return 0
    with closing(open_reader(database)) as reader:
        return reader.one("SELECT max(id) FROM row2") or 0
