"""One model in its worker process, asked the same question several times."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec

from edge_agent.cli.infer_input import ModelInput
from edge_agent.errors import ExitCode, Fatal
from edge_agent.inference.package import Package
from edge_agent.inference.wire import Ask, Load
from edge_agent.inference.worker_process import ModelRefused, WorkerFailed, WorkerProcess
from edge_agent.metrics import percentile
from edge_agent.ports import Spawner

_LOAD_S = 60.0
_WARM_UP_S = 2.0
_HINTS = {
    "deadline": "give a smaller model, more --threads, or a longer deadline_ms in the manifest",
    "memory": "raise --memory-mb (and memory_mb in the site file)",
    "crash": "the model kills its process: it must not be used",
}


class Choice(NamedTuple):
    """What a site file would choose."""

    threads: int
    providers: tuple[str, ...]
    delegate: str
    memory_mb: int


def infer(package: Package, given: ModelInput, choice: Choice, runs: int, spawner: Spawner) -> dict[str, Any]:
    """The outcome as a document. Raises Fatal where the model is refused, hangs or dies."""
    worker = WorkerProcess(spawner=spawner, memory_mb=choice.memory_mb)
    try:
        return _run(worker, package, given, choice, runs)
    except ModelRefused as e:
        raise Fatal(f"refused: {e.message}", hint=e.hint, exit_code=ExitCode.FAILURE) from e
    except WorkerFailed as e:
        raise Fatal(e.message, hint=_HINTS.get(e.kind, ""), exit_code=ExitCode.FAILURE) from e
    finally:
        worker.close()


def _run(worker: WorkerProcess, package: Package, given: ModelInput, choice: Choice, runs: int) -> dict[str, Any]:
    slot = worker.new_slot()
    deadline_s = package.manifest.deadline_ms / 1e3
    began = time.perf_counter()
    load = Load(
        slot, str(package.model_path.resolve()), msgspec.structs.replace(package.manifest, heldout={}),
        choice.threads, choice.providers, choice.delegate, rehearse=not choice.providers and not choice.delegate,
    )  # fmt: skip
    ready = worker.load(load, _LOAD_S, _go_on)
    # as a lane does: the first input after a load touches memory for the first time
    worker.ask(Ask(slot), b"", deadline_s + _WARM_UP_S, _go_on)
    load_ms = (time.perf_counter() - began) * 1e3
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        answer = worker.ask(Ask(slot, given.scale, given.dx, given.dy), given.payload, deadline_s, _go_on)
        took.append((time.perf_counter() - began) * 1e3)
    return {
        "ok": not answer.error,
        "model": msgspec.to_builtins(package.ref),
        "outputs": answer.outputs,
        "detail": answer.detail,
        "error": answer.error,
        "backend": ready.backend,
        "load_ms": round(load_ms, 1),
        "latency_ms": {"runs": runs, "p50": round(percentile(took, 0.5), 3), "max": round(max(took), 3)},
        "deadline_ms": package.manifest.deadline_ms,
    }


def _go_on() -> bool:
    return False
