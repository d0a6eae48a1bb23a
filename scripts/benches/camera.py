"""Camera: frames a second of the whole agent, from a video as fast as possible to committed predictions.

The limit decodes, shapes and infers in one process, which runs as nicely as the agent's worker does. Agent and bare
loop take turns.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from benches.agents import DATA, RunningAgent, site_text
from benches.figures import Figure, bare
from benches.lanes import WORKER_NICE, packages

VIDEO = DATA / "video" / "bikes.mp4"
MODELS = ("vww_96_int8.tflite", "yolox_nano_int8_qdq.onnx")


def measure(*, quick: bool = False) -> list[Figure]:
    if not VIDEO.exists():
        return [Figure(f"camera, {model}", None, "frames/s", f"{VIDEO.name} is not there") for model in MODELS]
    rounds, seconds = (1, 2.0) if quick else (5, 6.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        directories = packages(folder)
        return [_figure(folder / model, model, directories[model], rounds, seconds) for model in MODELS]


def _figure(folder: Path, model: str, package: Path, rounds: int, seconds: float) -> Figure:
    ours, limits = [], []
    for k in range(rounds):
        limit, _ = bare("camera", VIDEO, DATA / "models" / model, seconds=seconds, nice=WORKER_NICE)
        ours.append(frames_per_s(folder / str(k), package, seconds))
        limits.append(limit)
    limit = limits[0] if isinstance(limits[0], str) else median(limits)
    name = f"camera, {VIDEO.name} + {model}"
    return Figure(name, median(ours), "frames/s", limit, budget=0.95, least=True, of_ratio=True)


def frames_per_s(folder: Path, package: Path, seconds: float) -> float:
    """Predictions of the running agent, after its first ones."""
    shutil.copytree(package, folder / "package")
    with RunningAgent(folder, site_text(more=_SITE)) as agent:
        agent.wait_for(lambda s: s["lanes"][0]["latency"]["count"] > 20, 30, "the first predictions")
        began, before = time.perf_counter(), agent.ask("status")["lanes"][0]["latency"]["count"]
        time.sleep(seconds)
        after, ended = agent.ask("status")["lanes"][0]["latency"]["count"], time.perf_counter()
        agent.stop()
    return (after - before) / (ended - began)


_SITE = f"""
[[source]]
name = "street"
kind = "camera"
file = "{VIDEO}"
speed = "max"
loop = true

[[model]]
name = "eye"
package = "package"
input = "street"
"""
