"""Outputs of a model file for many inputs, straight from the runtimes: what the agent's figures are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from int8.network import Array


def onnx_outputs(path: Path, x: Array) -> Array:
    """float32 (n, ...) of the output `y`, for inputs float32 (n, ...), one by one."""
    from edge_agent.inference.runtimes.onnx import open_session
    from edge_agent.inference.runtimes.runtime import RuntimeOptions

    session = open_session(path, RuntimeOptions())
    return np.concatenate([session.run(["y"], {"x": one[None]})[0] for one in x])


def litert_outputs(path: Path, x: Array) -> Array:
    """float32 (n, ...), dequantized, for inputs int8 (n, ...); the operators' own kernels, without delegates."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]
    out = []
    for one in x:
        interpreter.set_tensor(entry, one[None])
        interpreter.invoke()
        out.append(interpreter.get_tensor(result["index"]))
    scale, zero = result["quantization"]
    return (np.concatenate(out).astype(np.float32) - zero) * np.float32(scale)
