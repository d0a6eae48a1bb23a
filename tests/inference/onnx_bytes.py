"""ONNX models for tests, written as protocol buffers by hand: endless, not a number, too big, with foreign operators.

Field numbers are those of onnx.proto; opset 17, IR version 8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

FLOAT, UINT8, INT8, INT32, INT64, BOOL = 1, 2, 3, 6, 7, 9


def _varint(n: int) -> bytes:
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def text(field: int, value: str | bytes) -> bytes:
    body = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], *attributes: bytes, domain: str = "") -> bytes:
    body = b"".join(text(1, i) for i in inputs) + b"".join(text(2, o) for o in outputs) + text(4, op)
    return body + b"".join(text(5, a) for a in attributes) + (text(7, domain) if domain else b"")


def graph_attribute(name: str, graph: bytes) -> bytes:
    return text(1, name) + text(6, graph) + number(20, 5)


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(text(1, number(1, d) if isinstance(d, int) else text(2, d)) for d in shape)
    return text(1, name) + text(2, text(1, number(1, kind) + text(2, dims)))


def tensor(name: str, kind: int, shape: Sequence[int], numbers: Sequence[float]) -> bytes:
    form = {FLOAT: "f", INT8: "b", INT64: "q", BOOL: "?"}[kind]
    raw = struct.pack(f"<{len(numbers)}{form}", *numbers)
    return b"".join(number(1, d) for d in shape) + number(2, kind) + text(8, name) + text(9, raw)


def external_tensor(name: str, shape: Sequence[int], location: str) -> bytes:
    where = text(1, "location") + text(2, location)
    return b"".join(number(1, d) for d in shape) + number(2, FLOAT) + text(8, name) + text(13, where) + number(14, 1)


def graph(
    nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], constants: Sequence[bytes] = ()
) -> bytes:
    return (
        b"".join(text(1, n) for n in nodes) + text(2, "g") + b"".join(text(5, c) for c in constants)
        + b"".join(text(11, i) for i in inputs) + b"".join(text(12, o) for o in outputs)
    )  # fmt: skip


def model(graph_: bytes, *, domains: Sequence[str] = ()) -> bytes:
    opsets = text(8, number(2, 17)) + b"".join(text(8, text(1, d) + number(2, 1)) for d in domains)
    return number(1, 8) + text(7, graph_) + opsets


X = value("x", FLOAT, [1, 4])
Y = value("y", FLOAT, [1, 4])


def identity() -> bytes:
    return model(graph([node("Identity", ["x"], ["y"])], [X], [Y]))


def not_a_number() -> bytes:
    """x plus NaN weights."""
    weights = tensor("w", FLOAT, [4], [1, float("nan"), 1, 1])
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], [Y], [weights]))


def endless(above: float | None = None) -> bytes:
    """A Loop without an end; with `above`, only for an input that holds a larger number: else y = x."""
    body = graph(
        [node("Identity", ["go"], ["on"]), node("Identity", ["v"], ["w"])],
        [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, [1, 4])],
        [value("on", BOOL, []), value("w", FLOAT, [1, 4])],
    )
    loop = node("Loop", ["", "start", "x"], ["y"], graph_attribute("body", body))
    if above is None:
        return model(graph([loop], [X], [Y], [tensor("start", BOOL, [], [True])]))
    nodes = [
        node("ReduceMax", ["x"], ["most"], text(1, "keepdims") + number(3, 0) + number(20, 2)),
        node("Greater", ["most", "limit"], ["start"]),
        loop,
    ]
    return model(graph(nodes, [X], [Y], [tensor("limit", FLOAT, [], [above])]))


def big(elements: int) -> bytes:
    """Makes a tensor of so many floats, and gives the sum of it beside x."""
    nodes = [
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("ReduceMax", ["x"], ["most"], text(1, "keepdims") + number(3, 0) + number(20, 2)),
        node("Add", ["zeros", "most"], ["filled"]),
        node("ReduceMax", ["filled"], ["top"], text(1, "keepdims") + number(3, 0) + number(20, 2)),
        node("Add", ["x", "top"], ["y"]),
    ]
    return model(graph(nodes, [X], [Y], [tensor("shape", INT64, [1], [elements])]))


def as_many_as_not_zero() -> bytes:
    """The places of the numbers that are not zero: [2, n], where n depends on the input."""
    nodes = [
        node("NonZero", ["x"], ["places"]),
        node("Cast", ["places"], ["y"], text(1, "to") + number(3, FLOAT) + number(20, 2)),
    ]
    return model(graph(nodes, [X], [value("y", FLOAT, [2, "n"])]))


def foreign_operator(domain: str = "com.example") -> bytes:
    return model(graph([node("Steal", ["x"], ["y"], domain=domain)], [X], [Y]), domains=[domain])


def external_data(location: str) -> bytes:
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], [Y], [external_tensor("w", [4], location)]))
