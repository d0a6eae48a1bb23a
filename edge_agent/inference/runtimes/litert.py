"""TFLite models by ai-edge-litert or the older tflite-runtime: the same Interpreter. The only importer of both.

Importing proves nothing (tflite-runtime imports beside numpy 2 and breaks at its first model), so a backend counts
as usable once it has run a tiny model.
"""

from __future__ import annotations

import base64
import gc
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.errors import Rejected
from edge_agent.inference.manifest import Manifest
from edge_agent.inference.runtimes.runtime import (
    Array,
    RuntimeOptions,
    TensorInfo,
    choose,
    dtype_name,
    only_input,
)
from edge_agent.inference.tensor_spec import TensorSpec

BACKENDS = ("ai_edge_litert", "tflite_runtime")
NO_DELEGATE = "none"
"""In place of a library: not even the default delegates, so that every build of the runtime gives the same bits."""
_TINY = base64.b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAcAAAA2AAAAAMAAAABAAAACAAAAAQABAAEAAAAAQAAABAAAAAMABQAEAAMAAgABAAM"
    "AAAAEAAAADwAAABAAAAARAAAAAEAAAAQAAAAAAAKAAwAAAAIAAQACgAAAAgAAAAMAAAAAQAAAAEAAAABAAAAAAAAAAEAAAABAAAAAQAAAAAA"
    "AAACAAAANAAAAAQAAADg////CAAAAAwAAAABAAAAeQAAAAIAAAABAAAABAAAAAwADAAIAAAAAAAEAAwAAAAIAAAADAAAAAEAAAB4AAAAAgAA"
    "AAEAAAAEAAAAAQAAABAAAAAMAAwACwAAAAAABAAMAAAAEwAAAAAAABM="
)
"""y = max(x, 0) of four numbers."""
_UNUSABLE = (ImportError, SystemError, AttributeError, ValueError, RuntimeError)
_REFUSALS = (ValueError, RuntimeError, TypeError, MemoryError)
_opened: list[Any] = []
"""Every interpreter for the life of the process: freeing some models kills it, a refused one as well."""


class LitertRuntime:
    """An interpreter. Integer tensors take the scale and zero point that the model carries."""

    def __init__(self, path: Path, manifest: Manifest, options: RuntimeOptions) -> None:
        module, name = usable_backend()
        self._interpreter = interpreter = _open(module, path, options)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self.input = _quantized(only_input([_info(t) for t in inputs], manifest), manifest.input, "input")
        self.output = choose([_info(t) for t in outputs], manifest.output, "output")
        self.output = _quantized(self.output, manifest.output, "output")
        self._input_index = inputs[0]["index"]
        self._output_index = next(t["index"] for t in outputs if t["name"] == self.output.name)
        self.backend = name + (f", delegate {options.delegate}" if options.delegate else "")

    def run(self, tensor: Array) -> Array:
        try:
            self._interpreter.set_tensor(self._input_index, tensor)
            self._interpreter.invoke()
            output: Array = self._interpreter.get_tensor(self._output_index)
        except _REFUSALS as e:
            raise Rejected(f"LiteRT: {_first_line(e)}", hint="test the model with its golden samples") from e
        return output

    def free(self) -> None:
        self._interpreter = None
        _opened.clear()
        gc.collect()


def usable_backend() -> tuple[Any, str]:
    """The first interpreter module that really runs a model, with its name. Raises Rejected when none does."""
    reasons = []
    for name in BACKENDS:
        try:
            module = importlib.import_module(f"{name}.interpreter")
            run_tiny(module)
        except _UNUSABLE as e:
            reasons.append(f"{name}: {type(e).__name__}: {_first_line(e)}")
        else:
            return module, name
    raise Rejected("no TFLite runtime is usable: " + "; ".join(reasons), hint="pip install ai-edge-litert")


def run_tiny(module: Any) -> None:
    """Raises one of many things unless the module runs a model right."""
    interpreter = module.Interpreter(model_content=_TINY, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([[-1, 2, -3, 4]], np.float32))
    interpreter.invoke()
    if interpreter.get_tensor(1).tolist() != [[0, 2, 0, 4]]:
        raise ValueError("a tiny model gave a wrong answer")


def _open(module: Any, path: Path, options: RuntimeOptions) -> Any:
    settings: dict[str, Any] = {"num_threads": options.threads}
    if options.delegate == NO_DELEGATE:
        settings["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif options.delegate:
        settings["experimental_delegates"] = [_delegate(module, options.delegate)]
    try:
        interpreter = module.Interpreter(model_path=str(path), **settings)
        _opened.append(interpreter)
        interpreter.allocate_tensors()
    except _REFUSALS as e:
        raise Rejected(f"LiteRT refuses the model: {_first_line(e)}", hint="convert the model again") from e
    return interpreter


def _delegate(module: Any, library: str) -> Any:
    try:
        return module.load_delegate(library)
    except (OSError, ValueError, AttributeError) as e:
        reason = f"the delegate {library} cannot be loaded: {_first_line(e)}"
        raise Rejected(reason, hint="check the path, or remove delegate from the site file") from e


def _info(details: dict[str, Any]) -> TensorInfo:
    shape = tuple(int(d) for d in details["shape"])
    scale, zero = details["quantization"]
    return TensorInfo(details["name"], dtype_name(details["dtype"]), shape, (float(scale), int(zero)))


def _quantized(tensor: TensorInfo, spec: TensorSpec, what: str) -> TensorInfo:
    """The tensor with the scale to use; none for floats."""
    if spec.dtype == "float32":
        return TensorInfo(tensor.name, tensor.dtype, tensor.shape)
    scale, zero = tensor.quantization or (0.0, 0)
    if not (math.isfinite(scale) and scale > 0):
        raise Rejected(f"{what}: the model's quantization scale is {scale}", hint="convert the model again")
    if spec.quantization is not None and not _agree(spec.quantization, (scale, zero)):
        reason = f"{what}: the manifest says quantization {list(spec.quantization)}, the model {[scale, zero]}"
        raise Rejected(reason, hint=f"remove {what}.quantization")
    return tensor


def _agree(a: tuple[float, int], b: tuple[float, int]) -> bool:
    return a[1] == b[1] and math.isclose(a[0], b[0], rel_tol=1e-4)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300]
