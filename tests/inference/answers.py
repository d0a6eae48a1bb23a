"""Answers of a package without default delegates, as JSON: `python answers.py PACKAGE INPUTS`.

Run in another environment or on another CPU, to compare; the project's root is on its PYTHONPATH.
INPUTS holds the raw inputs one after the other. Prints [backend, [error, outputs, detail] of each input].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edge_agent.inference.loaded_model import LoadedModel
from edge_agent.inference.package import load_package
from edge_agent.inference.wire import Ask, Load


def answers(package: Path, inputs: bytes) -> tuple[str, list[list[object]]]:
    checked = load_package(package)
    model = LoadedModel(Load(1, str(checked.model_path), checked.manifest, 1, (), "none"))
    size = checked.manifest.input.raw_bytes
    out: list[list[object]] = []
    for at in range(0, len(inputs), size):
        answer = model.answer(Ask(1), memoryview(inputs)[at : at + size])
        out.append([answer.error, answer.outputs, answer.detail])
    return model.backend, out


if __name__ == "__main__":
    print(json.dumps(answers(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes())))
