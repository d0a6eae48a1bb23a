"""A lane on its thread with its real worker process, asked one input at a time; and the packages to measure."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

from benches.agents import ROOT
from edge_agent.clock import SystemClock
from edge_agent.health import PartHealth
from edge_agent.inference.lane import Lane, LaneOptions
from edge_agent.inference.manifest import ImageInput
from edge_agent.inference.package import Package, load_package
from edge_agent.inference.worker_process import WorkerProcess
from edge_agent.supervisor import MainSpawner
from edge_agent.types import Event, Frame, Image, Infer, Prediction, Stamp
from tests.inference.packages import AE_INPUT, AE_OUTPUT, MODELS, vww_package, write_package, yolox_package

WORKER_NICE = 10
"""Of workers; the bare loop beside them runs as nicely, or a busy machine would be measured."""
DIGITS = ROOT / "models" / "meter-digits" / "1.0.0"
MOTOR = ROOT / "models" / "motor-anomaly" / "1.0.0"


def packages(folder: Path) -> dict[str, Path]:
    """By the model's file name; those of the shared data only where it is there."""
    found = {"meter-digits": DIGITS, "motor-anomaly": MOTOR}
    if MODELS.exists():
        ae = MODELS / "ae_int8_widecal.onnx"
        found["ae_int8_widecal.onnx"] = write_package(folder / "ae", ae, AE_INPUT + AE_OUTPUT, policy="every")
        found["vww_96_int8.tflite"] = vww_package(folder / "vww")
        found["yolox_nano_int8_qdq.onnx"] = yolox_package(folder / "yolox")
    return found


class AskedLane:
    """`ask` gives the ms from handing an input over to its prediction, `loop` those between two predictions."""

    def __init__(self, package: Package) -> None:
        self._spawner = MainSpawner()
        self.worker = WorkerProcess(spawner=self._spawner, memory_mb=512)
        self._answers: SimpleQueue[Prediction] = SimpleQueue()
        manifest = package.manifest
        options = LaneOptions("every", 60_000, manifest.threads)
        self.lane = Lane(
            "bench", package, options, worker=self.worker, clock=SystemClock(), post=self._post,
            counters=PartHealth("bench"),
        )  # fmt: skip
        self._thread = threading.Thread(target=self.lane.run)
        self._given = manifest.input
        self._number = 0
        self._raw = random.Random(1).randbytes(manifest.input.raw_bytes)

    def start(self) -> None:
        """Returns when the first answer is there; the worker is spawned from this thread."""
        self._thread.start()
        self._submit()
        while self._answers.empty():
            self._spawner.serve(0.02)
        self._answers.get()

    def ask(self) -> float:
        began = time.perf_counter()
        self._submit()
        self._answers.get()
        return (time.perf_counter() - began) * 1e3

    def loop(self, seconds: float) -> list[float]:
        """With another input always waiting, as a camera or a replay has it."""
        came, end = [], time.perf_counter() + seconds
        self._submit()
        self._submit()
        while not came or came[-1] < end:
            self._submit()
            self._answers.get()
            came.append(time.perf_counter())
        for _ in range(2):
            self._answers.get()
        return [(b - a) * 1e3 for a, b in pairwise(came)]

    def stop(self) -> None:
        self.lane.stop()
        self._thread.join()

    def _submit(self) -> None:
        self._number += 1
        given, stamp = self._given, Stamp(time.monotonic_ns(), time.time_ns())
        if isinstance(given, ImageInput):
            image = Image(given.view.height, given.view.width, given.channels, self._raw)
            self.lane.submit_frame(Frame("bench", stamp, self._number, (image,)), waiting=False)
        else:
            count = given.channels * given.length
            window = struct.pack(f"<{count}f", *(b / 128 for b in self._raw[:count]))
            self.lane.submit_window(
                Infer("bench", self._number, stamp, window, (given.channels, given.length)), waiting=False
            )

    def _post(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Prediction):
                self._answers.put(event)


@contextmanager
def asked(directory: Path) -> Iterator[AskedLane]:
    lane = AskedLane(load_package(directory))
    try:
        lane.start()
        yield lane
    finally:
        lane.stop()
