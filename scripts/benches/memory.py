"""Resident memory of the agent's main process without camera and model, and of each small model's worker.

The agent has 50 streams, 20 rules with a window each, the store and an MQTT connection, and has run for a while.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benches.agents import MOSQUITTO, Mosquitto, RunningAgent, rss_mb, site_text
from benches.figures import Figure, bare
from benches.lanes import asked, packages
from benches.sites import streams_site
from benches.terminals import device
from edge_agent.inference.package import load_package

_SMALL_BYTES = 500_000


def measure(*, quick: bool = False) -> list[Figure]:
    repeat = 1 if quick else 5
    limit, _ = bare("memory", repeat=repeat)
    main_mb = main_process(3.0 if quick else 60.0)
    figures = [Figure("main process, no camera, no model", main_mb, "MB", limit, budget=45)]
    with tempfile.TemporaryDirectory() as folder:
        for name, directory in packages(Path(folder)).items():
            model = load_package(directory).model_path.resolve()
            if model.stat().st_size <= _SMALL_BYTES:
                limit, _ = bare("memory", model, repeat=repeat)
                figures.append(Figure(f"worker, {name}", worker(directory), "MB", limit, budget=75))
    return figures


def main_process(seconds: float) -> float:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(Mosquitto(folder, "max_queued_messages 0", verbose=False)) if MOSQUITTO else None
        site, lines = streams_site(50, rules=20)
        text = site_text(broker=broker.port if broker else None, ack="broker", more=site)
        agent = stack.enter_context(RunningAgent(folder, text))
        stack.enter_context(device(folder / "port", lines, 500))
        agent.wait_for(lambda s: s["store"]["readings"] > 0, 20, "the first commit")
        time.sleep(seconds)
        return rss_mb(agent.pid)


def worker(directory: Path) -> float:
    with asked(directory) as lane:
        for _ in range(100):
            lane.ask()
        pid = lane.worker.pid
        assert pid is not None
        return rss_mb(pid)
