"""A network as ONNX: float32, or int8 in QDQ form with float32 input and output. IR 8, opset 17."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from int8.network import Array, Conv, Dense, Layer, Quantized, Scale

Shape = tuple[int, ...]


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def through_int8(self, x: str, scale: Scale, *, last: str = "") -> str:
        """Quantize and dequantize: the value as int8 holds it."""
        parts = [
            self.constant(f"{x}_scale", np.float32(scale.scale)),
            self.constant(f"{x}_zero", np.array(scale.zero, np.int8)),
        ]
        q = self.node("QuantizeLinear", [x, *parts], f"{x}_q")
        return self.node("DequantizeLinear", [q, *parts], last or f"{x}_dq")

    def stored(self, name: str, value: Array, scale: Array) -> str:
        """An int8 or int32 constant as float, one scale an output."""
        zero = np.zeros(len(scale), value.dtype)
        parts = [self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", zero)]
        return self.node("DequantizeLinear", [self.constant(f"{name}_q", value), *parts], name, axis=0)

    def save(self, path: str, name: str, shape_in: Shape, shape_out: Shape) -> None:
        graph = helper.make_graph(
            self.nodes, name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
            self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="edge-agent")
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def write_float(path: str, layers: Sequence[Layer], shape_in: Shape, shape_out: Shape) -> None:
    """`shape_in`: (1, channels, height, width), or (1, channels, length) for dense layers alone."""
    graph = _Graph()
    x, size = "x", shape_in[2:]
    for at, layer in enumerate(layers):
        if isinstance(layer, Dense) and size:
            x = graph.node("Flatten", [x], f"flat{at}")
        weight = graph.constant(f"w{at}", _onnx_weight(layer, layer.weight, size))
        x = _layer(graph, layer, at, [x, weight, graph.constant(f"b{at}", layer.bias)], size)
        size = _next_size(layer, size)
    graph.node("Reshape", [x, graph.constant("shape", np.array(shape_out, np.int64))], "y")
    graph.save(path, "float", shape_in, shape_out)


def write_int8(path: str, layers: Sequence[Quantized], entry: Scale, shape_in: Shape, shape_out: Shape) -> None:
    graph = _Graph()
    x, size, incoming = graph.through_int8("x", entry), shape_in[2:], entry
    for at, q in enumerate(layers):
        if isinstance(q.layer, Dense) and size:
            # quantized again, which changes nothing, so that the runtime sees an int8 layer
            x = graph.through_int8(graph.node("Flatten", [x], f"flat{at}"), incoming)
        weight = graph.stored(f"w{at}", _onnx_weight(q.layer, q.weight_q, size), q.weight_scale)
        bias = graph.stored(f"b{at}", q.bias_q, (np.float32(incoming.scale) * q.weight_scale).astype(np.float32))
        x = _layer(graph, q.layer, at, [x, weight, bias], size)
        x = graph.through_int8(x, q.out)
        size, incoming = _next_size(q.layer, size), q.out
    graph.node("Reshape", [x, graph.constant("shape", np.array(shape_out, np.int64))], "y")
    graph.save(path, "int8", shape_in, shape_out)


def _layer(graph: _Graph, layer: Layer, at: int, inputs: list[str], size: Shape) -> str:
    """`size`: of the picture or the window that comes in; () after a dense layer."""
    if isinstance(layer, Conv):
        (top, bottom), (left, right) = (layer.pads(n, k) for n, k in zip(size, layer.weight.shape[1:3], strict=True))
        strides = [layer.stride] * 2
        x = graph.node("Conv", inputs, f"conv{at}", strides=strides, pads=[top, left, bottom, right])
    else:
        x = graph.node("Gemm", inputs, f"dense{at}", transB=1)
    return graph.node("Relu", [x], f"relu{at}") if layer.relu else x


def _onnx_weight(layer: Layer, weight: Array, size: Shape) -> Array:
    """From height, width, channel to ONNX's channel first, also where a dense layer reads a picture."""
    if isinstance(layer, Conv):
        return weight.transpose(0, 3, 1, 2)
    if len(size) < 2:
        return weight
    pixels = weight.reshape(len(weight), *size, -1)
    return pixels.transpose(0, 3, 1, 2).reshape(len(weight), -1)


def _next_size(layer: Layer, size: Shape) -> Shape:
    return tuple(-(-n // layer.stride) for n in size) if isinstance(layer, Conv) else ()
