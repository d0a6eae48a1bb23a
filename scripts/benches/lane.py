"""Lane over a bare loop: what an input costs with the worker between, p50.

For a small model from handing one input to the lane to its prediction, for a large one from one prediction to the
next while inputs wait. Pre- and postprocessing, the hops between processes and the digest of the input are in it.
Lane and bare loop take turns, with the same model, one thread, and the same priority.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from benches.figures import Figure, bare
from benches.lanes import WORKER_NICE, AskedLane, asked, packages
from edge_agent.inference.package import load_package

_LARGE_MS = 5.0


def measure(*, quick: bool = False) -> list[Figure]:
    rounds, seconds = (1, 0.5) if quick else (5, 3.0)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, directory in packages(Path(folder)).items():
            figures += _figures(name, directory, rounds, seconds)
    return figures


def _figures(name: str, directory: Path, rounds: int, seconds: float) -> list[Figure]:
    model = load_package(directory).model_path.resolve()
    alone, looped, limits = [], [], []
    with asked(directory) as lane:
        for _ in range(rounds):
            limit, _ = bare("lane", model, seconds=seconds, nice=WORKER_NICE)
            limits.append(limit)
            alone.append(_alone(lane, seconds / 2))
            looped.append(median(lane.loop(seconds / 2)))
    if isinstance(limits[0], str):
        return [Figure(f"lane p50, {name}", median(alone), "ms", limits[0])]
    value, limit = median(alone), median(limits)
    if limit >= _LARGE_MS:
        return [
            Figure(f"lane loop p50, {name}", median(looped), "ms", limit, budget=1.05, of_ratio=True),
            Figure(f"lane p50, one at a time, {name}", value, "ms", limit),
        ]
    return [
        Figure(f"lane p50, {name}", value, "ms", limit),
        Figure(f"lane overhead p50, {name}", value - limit, "ms", budget=0.3),
    ]


def _alone(lane: AskedLane, seconds: float) -> float:
    took = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        took.append(lane.ask())
    return median(took)
