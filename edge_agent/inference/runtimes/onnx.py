"""ONNX models by onnxruntime: one thread, CPU, unless the site says otherwise. The only importer of onnxruntime.

Promise: integers are multiplied and summed exactly, so that a quantized model gives the same on every CPU.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

# since 1.29 the library writes a device id and a database to the home directory and reports to its maker; what
# turns that off at run time comes too late, so it is said before the import
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort

from edge_agent.errors import Rejected
from edge_agent.inference.manifest import Manifest
from edge_agent.inference.runtimes.runtime import Array, RuntimeOptions, TensorInfo, choose, only_input

_TINY = (
    b'\x08\x08:;\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x13\n\x01x\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02\x08\x04'
    b"b\x13\n\x01y\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02\x08\x04B\x02\x10\x11"
)
"""y = max(x, 0) of four numbers."""
_SUM = (
    b'\x08\x08:\\\n\x18\n\x01x\n\x01w\x12\x01y"\rMatMulInteger\x12\x01gZ\x13\n\x01x\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01'
    b"\n\x02\x08\x02Z\x13\n\x01w\x12\x0e\n\x0c\x08\x03\x12\x08\n\x02\x08\x02\n\x02\x08\x01b\x13\n\x01y\x12\x0e\n\x0c\x08\x06\x12\x08\n"
    b"\x02\x08\x01\n\x02\x08\x01B\x02\x10\x11"
)
"""y = x @ w: the sum of two products of a uint8 and an int8."""
_EXACT = ("session.x64quantprecision", "1")
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_DTYPES = {
    "tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(int16)": "int16",
    "tensor(int32)": "int32",
}  # fmt: skip


def _error_classes() -> tuple[type[Exception], ...]:
    """onnxruntime has a class an error code, and no common base but Exception."""
    kinds = vars(ort.capi.onnxruntime_pybind11_state).values()
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


_REFUSALS: tuple[type[Exception], ...] = (*_error_classes(), ValueError, MemoryError)


class OnnxRuntime:
    """A session. A provider that was asked for and is not the one that runs is an error, not a slower model."""

    def __init__(self, path: Path, manifest: Manifest, options: RuntimeOptions) -> None:
        self._session = session = open_session(path, options)
        self.input = only_input([_info(t) for t in session.get_inputs()], manifest)
        self.output = choose([_info(t) for t in session.get_outputs()], manifest.output, "output")
        self.backend = f"onnxruntime {ort.__version__} {session.get_providers()[0]}"
        if saturates():
            self.backend += " (int8 in slower kernels: the fast ones saturate on this CPU)"
        self._wanted = [self.output.name]

    def run(self, tensor: Array) -> Array:
        try:
            output: Array = self._session.run(self._wanted, {self.input.name: tensor})[0]
        except _REFUSALS as e:
            raise Rejected(f"onnxruntime: {_first_line(e)}", hint="test the model with its golden samples") from e
        return output

    def free(self) -> None:
        self._session = None


def open_session(path: Path, options: RuntimeOptions) -> Any:
    """The library's session of a model as the agent runs it. Raises Rejected."""
    settings = _settings(options.threads)
    wanted = list(options.providers) or [_CPU]
    try:
        if saturates():
            settings.add_session_config_entry(*_EXACT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session = ort.InferenceSession(str(path), settings, providers=wanted)
    except _REFUSALS as e:
        raise Rejected(f"onnxruntime refuses the model: {_first_line(e)}", hint="export the model again") from e
    actual = session.get_providers()
    if wanted[0] != actual[0] and _CPU not in wanted:
        available = ", ".join(ort.get_available_providers())
        reason = f"asked for {wanted[0]}, but the session fell back to {actual[0]}"
        hint = f"available here: {available}; add {_CPU} to providers to allow the fallback"
        raise Rejected(reason, hint=hint)
    return session


def _settings(threads: int) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _ERRORS_ONLY
    # a spinning thread would take the core that sensors and rules need
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


@cache
def saturates() -> bool:
    """Whether the int8 kernels of this machine cut a sum of two products off at 16 bits, as x86's do without VNNI.

    Asked of the kernels, since the CPU's flags are what an emulator or a virtual machine makes of them.
    """
    session = ort.InferenceSession(_SUM, _settings(1), providers=[_CPU])
    x, w = np.full((1, 2), 255, np.uint8), np.full((2, 1), 127, np.int8)
    total: int = session.run(None, {"x": x, "w": w})[0].item()
    return total != 2 * 255 * 127


def _info(tensor: Any) -> TensorInfo:
    shape = tuple(d if isinstance(d, int) and d > 0 else -1 for d in tensor.shape)
    return TensorInfo(tensor.name, _DTYPES.get(tensor.type, tensor.type), shape)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]


def run_tiny() -> str:
    """The library's name and version, once it has run a tiny model. Raises one of many things when it cannot."""
    session = ort.InferenceSession(_TINY, providers=[_CPU])
    output = session.run(None, {"x": np.array([[-1, 2, -3, 4]], np.float32)})[0]
    if output.tolist() != [[0, 2, 0, 4]]:
        raise ValueError("a tiny model gave a wrong answer")
    return f"onnxruntime {ort.__version__}"
