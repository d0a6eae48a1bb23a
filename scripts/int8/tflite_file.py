"""A network in int8 as TFLite, int8 in and out, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from int8.network import Array, Conv, Quantized, Scale

_VERSIONS = {schema.BuiltinOperator.CONV_2D: 3, schema.BuiltinOperator.FULLY_CONNECTED: 4}
"""Of the operators: the first that know int8."""
_TYPES = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


class _Model:
    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.tensors: list[schema.TensorT] = []
        self.operators: list[schema.OperatorT] = []
        self.codes: list[int] = []

    def activation(self, name: str, shape: Sequence[int], scale: Scale) -> int:
        return self._tensor(name, shape, schema.TensorType.INT8, [scale.scale], scale.zero, 0)

    def constant(self, name: str, value: Array, scale: Array) -> int:
        return self._tensor(name, value.shape, _TYPES[str(value.dtype)], scale.tolist(), 0, self._buffer(value))

    def _tensor(
        self, name: str, shape: Sequence[int], kind: int, scale: Sequence[float], zero: int, buffer: int
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        tensor.quantization = quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = list(scale), [zero] * len(scale)
        quantization.quantizedDimension = 0
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code: int, inputs: Sequence[int], output: int, kind: int, options: object) -> None:
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.operators.append(operator)

    def encode(self, x: int, y: int) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [x], [y]
        model = schema.ModelT()
        model.version, model.description = 3, "edge-agent"
        model.subgraphs, model.buffers = [graph], self.buffers
        model.operatorCodes = [_operator_code(code) for code in self.codes]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, value: Array) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1


def write_int8(path: Path, layers: Sequence[Quantized], entry: Scale, shape_in: Sequence[int]) -> None:
    """`shape_in`: (1, height, width, channels)."""
    model = _Model()
    x = first = model.activation("x", shape_in, entry)
    shape, incoming = list(shape_in), entry
    for at, q in enumerate(layers):
        shape = _next_shape(q, shape)
        weight_scale = q.weight_scale if isinstance(q.layer, Conv) else q.weight_scale[:1]
        weight = model.constant(f"w{at}", q.weight_q, weight_scale)
        bias = model.constant(f"b{at}", q.bias_q, np.float32(incoming.scale) * weight_scale)
        y = model.activation(f"y{at}", shape, q.out)
        model.operator(_code(q), (x, weight, bias), y, *_options(q))
        x, incoming = y, q.out
    path.write_bytes(model.encode(first, x))


def _operator_code(code: int) -> schema.OperatorCodeT:
    out = schema.OperatorCodeT()
    out.builtinCode = out.deprecatedBuiltinCode = code
    out.version = _VERSIONS[code]
    return out


def _code(q: Quantized) -> int:
    return schema.BuiltinOperator.CONV_2D if isinstance(q.layer, Conv) else schema.BuiltinOperator.FULLY_CONNECTED


def _options(q: Quantized) -> tuple[int, object]:
    relu = schema.ActivationFunctionType.RELU if q.layer.relu else schema.ActivationFunctionType.NONE
    if isinstance(q.layer, Conv):
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideW = options.strideH = q.layer.stride
        options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = relu
        return schema.BuiltinOptions.Conv2DOptions, options
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = relu
    return schema.BuiltinOptions.FullyConnectedOptions, options


def _next_shape(q: Quantized, shape: list[int]) -> list[int]:
    if isinstance(q.layer, Conv):
        return [1, *(-(-n // q.layer.stride) for n in shape[1:3]), len(q.weight_q)]
    return [1, len(q.weight_q)]
