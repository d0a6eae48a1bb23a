"""Which model runtimes really work on this box: each one runs a tiny model in a process of its own.

Importing proves nothing, and an illegal instruction must not take the asker down. `python -m
edge_agent.inference.probe NAME` is that process: it prints the library's name, or fails.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import NamedTuple

from edge_agent.children import child_environment, ending

LIBRARIES = ("onnxruntime", "ai_edge_litert", "tflite_runtime")
_MODULES = {"onnxruntime": "onnx", "ai_edge_litert": "litert", "tflite_runtime": "litert"}


class Probe(NamedTuple):
    """`library` is one of `LIBRARIES`; `reason` says why it is not usable, or which version it is."""

    library: str
    usable: bool
    reason: str


def probe(library: str, *, timeout_s: float = 60.0) -> Probe:
    """Waits for the verdict; takes as long as the library's import, about half a second."""
    argv = (sys.executable, "-m", "edge_agent.inference.probe", library)
    try:
        done = subprocess.run(
            argv, env=child_environment({}), capture_output=True, timeout=timeout_s, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Probe(library, False, f"no answer within {timeout_s:g} s")
    if done.returncode == 0:
        return Probe(library, True, done.stdout.decode().strip())
    return Probe(library, False, ending(done.returncode, done.stderr))


def main(library: str) -> None:
    runtime = import_module(f"edge_agent.inference.runtimes.{_MODULES[library]}")
    if library == "onnxruntime":
        print(runtime.run_tiny())
    else:
        runtime.run_tiny(import_module(f"{library}.interpreter"))
        print(library)


if __name__ == "__main__":
    main(sys.argv[1])
