"""One model in a worker: loaded by its runtime, and from raw input to answer."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.errors import Rejected
from edge_agent.inference.postprocess import Placement, Verdict, finite_floats, implausible, postprocessor
from edge_agent.inference.preprocess import preprocessor
from edge_agent.inference.runtimes.runtime import Array, Runtime, RuntimeOptions, TensorInfo
from edge_agent.inference.tensor_spec import Quantization, TensorSpec
from edge_agent.inference.wire import Answer, Ask, Load

_RUNTIMES = {"onnx": "OnnxRuntime", "litert": "LitertRuntime"}


class LoadedModel:
    """Raises Rejected where the model is not what its manifest says."""

    def __init__(self, load: Load) -> None:
        manifest = load.manifest
        self.slot = load.slot
        self._manifest = manifest
        self._runtime = runtime = _open(load)
        self.backend = runtime.backend
        self._prepare = preprocessor(manifest.input, _scale(manifest.input, runtime.input))
        self._output_scale = _scale(manifest.output, runtime.output)
        self._finish = postprocessor(manifest)

    def answer(self, ask: Ask, raw: memoryview) -> Answer:
        """Always an answer; whatever is wrong with input or output is its `error`."""
        try:
            verdict = self._infer(raw or bytes(self._manifest.input.raw_bytes), Placement(ask.scale, ask.dx, ask.dy))
        except Rejected as e:
            return Answer(self.slot, {}, error=e.message)
        error = verdict.weak or implausible(verdict.outputs, self._manifest.plausible)
        return Answer(self.slot, {} if error else verdict.outputs, verdict.detail, error)

    def free(self) -> None:
        """Ends it; some models kill their process here, so that only a rehearsal does this."""
        self._runtime.free()

    def _infer(self, raw: Any, placement: Placement) -> Verdict:
        output = self._runtime.run(self._prepare.tensor(raw))
        self._check(output)
        return self._finish(finite_floats(output, self._output_scale), lambda: self._prepare.floats(raw), placement)

    def _check(self, output: Array) -> None:
        spec = self._manifest.output
        if output.shape != spec.shape or output.dtype != np.dtype(spec.dtype):
            expected, found = f"{spec.dtype} {list(spec.shape)}", f"{output.dtype} {list(output.shape)}"
            raise Rejected(f"the model gave {found}, expected {expected}", hint="correct the manifest's output")


def _open(load: Load) -> Runtime:
    # by name: a worker imports the one runtime that its models need
    module = import_module(f"edge_agent.inference.runtimes.{load.manifest.runtime}")
    options = RuntimeOptions(load.threads, load.providers, load.delegate)
    kind: Callable[..., Runtime] = getattr(module, _RUNTIMES[load.manifest.runtime])
    return kind(Path(load.model_path), load.manifest, options)


def _scale(spec: TensorSpec, tensor: TensorInfo) -> Quantization | None:
    return tensor.quantization or spec.quantization
