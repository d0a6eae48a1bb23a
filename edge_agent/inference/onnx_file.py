"""What an ONNX file would make its runtime do, read from the protocol buffer itself without running anything.

Refused: what is no ONNX model, operators of a foreign domain (they need a library of somebody's), and tensors in
external files that the package does not list. Field numbers are those of onnx.proto (ONNX 1.x).
"""

from __future__ import annotations

from collections.abc import Iterator

_OFFICIAL = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Domains whose operators onnxruntime brings itself; its quantizer writes com.microsoft."""
_DEPTH = 16
_EXTERNAL = 1


class OnnxProblem(ValueError):
    """Why the file is refused."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def check_onnx(model: memoryview, listed: frozenset[str]) -> None:
    """Raises OnnxProblem. `listed`: the files that external data may lie in."""
    graphs = 0
    for field, value in _fields(model):
        if field == 7:
            graphs += 1
            _check_graph(_message(value), listed, 0)
        elif field == 25:
            raise OnnxProblem("it defines functions of its own", "export it with functions inlined")
    if graphs != 1:
        raise OnnxProblem("not an ONNX model: it has no graph", "export the model again as onnx")


def _check_graph(graph: memoryview, listed: frozenset[str], depth: int) -> None:
    if depth > _DEPTH:
        raise OnnxProblem("graphs are nested too deeply", "export the model again")
    for field, value in _fields(graph):
        if field == 1:
            _check_node(_message(value), listed, depth)
        elif field == 5:
            _check_tensor(_message(value), listed)
        elif field == 15:
            _check_sparse(_message(value), listed)


def _check_node(node: memoryview, listed: frozenset[str], depth: int) -> None:
    _check_domain(_text(node, 7), _text(node, 4))
    for field, value in _fields(node):
        if field != 5:
            continue
        for part, content in _fields(_message(value)):
            if part in (5, 10):
                _check_tensor(_message(content), listed)
            elif part in (22, 23):
                _check_sparse(_message(content), listed)
            elif part in (6, 11):
                _check_graph(_message(content), listed, depth + 1)


def _check_domain(domain: str, operator: str) -> None:
    if domain not in _OFFICIAL:
        reason = f"operator {operator!a} is of the domain {domain!a}"
        raise OnnxProblem(reason, "export the model with standard operators; libraries of operators are not loaded")


def _check_sparse(sparse: memoryview, listed: frozenset[str]) -> None:
    for field, tensor in _fields(sparse):
        if field in (1, 2):
            _check_tensor(_message(tensor), listed)


def _check_tensor(tensor: memoryview, listed: frozenset[str]) -> None:
    location = ""
    external = False
    for field, value in _fields(tensor):
        if field == 14:
            external = value == _EXTERNAL
        elif field == 13:
            entry = _message(value)
            if _text(entry, 1) == "location":
                location = _text(entry, 2)
                external = True
    if external and location not in listed:
        reason = f"a tensor's data is in the file {location!a}"
        raise OnnxProblem(reason, "list the file in the manifest, or export the model into one file")


def _text(message: memoryview, wanted: int) -> str:
    out = ""
    for field, value in _fields(message):
        if field == wanted:
            out = bytes(_message(value)).decode("utf-8", "backslashreplace")
    return out


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise OnnxProblem("not an ONNX model: a field has the wrong type", "export the model again as onnx")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, bytes or number) of one message; anything but a well-formed message is refused."""
    at = 0
    end = len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _malformed(at)
        if field == 0 or at + size > end:
            raise _malformed(at)
        yield field, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed(at)


def _malformed(at: int) -> OnnxProblem:
    return OnnxProblem(f"not an ONNX model: byte {at} of a message is malformed", "export the model again as onnx")
