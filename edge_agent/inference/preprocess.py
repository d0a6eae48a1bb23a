"""From the bytes of an input to the model's tensor: x = clip((raw * scale - mean) / std), layout, quantization."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from edge_agent.errors import Rejected
from edge_agent.inference.manifest import ImageInput, WindowInput
from edge_agent.inference.runtimes.runtime import Array
from edge_agent.inference.tensor_spec import Quantization


class Preprocessor(Protocol):
    """`tensor`: the model's input, valid until the next call. `floats`: the same before quantization, float32.
    Both raise Rejected for an input that is none."""

    def tensor(self, raw: Any) -> Array: ...
    def floats(self, raw: Any) -> Array: ...


def preprocessor(spec: ImageInput | WindowInput, quantization: Quantization | None) -> Preprocessor:
    """`quantization` is the model's own, of an integer tensor."""
    return _Image(spec, quantization) if isinstance(spec, ImageInput) else _Window(spec, quantization)


class _Image:
    """A pixel has 256 values: what becomes of each is computed once, in float64, and looked up."""

    def __init__(self, spec: ImageInput, quantization: Quantization | None) -> None:
        self._spec = spec
        image = (spec.view.height, spec.view.width)
        self._planar = spec.layout == "nchw"
        self._shape = (spec.channels, *image) if self._planar else (*image, spec.channels)
        self._tensor = np.empty(spec.shape, spec.dtype)
        levels = np.arange(256, dtype=np.float64)[:, None]
        floats = np.broadcast_to(_scaled(levels, spec), (256, spec.channels))
        self._floats = np.ascontiguousarray(floats.T, np.float32)
        table = floats if quantization is None else _quantized(floats, quantization, spec.dtype)
        self._table = np.ascontiguousarray(table.T, spec.dtype)
        alike = bool((self._table == self._table[0]).all())
        self._identity = alike and np.array_equal(self._table[0], np.arange(256))
        self._bytes = self._table[0].tobytes() if alike and self._table.itemsize == 1 else None

    def tensor(self, raw: Any) -> Array:
        _check_size(raw, self._spec)
        if self._bytes is not None:
            return np.frombuffer(bytes(raw).translate(self._bytes), self._spec.dtype).reshape(self._spec.shape)
        return self._looked_up(raw, self._table, self._tensor, identity=self._identity)

    def floats(self, raw: Any) -> Array:
        _check_size(raw, self._spec)
        return self._looked_up(raw, self._floats, np.empty(self._spec.shape, np.float32), identity=False)

    def _looked_up(self, raw: Any, table: Array, out: Array, *, identity: bool) -> Array:
        """Raw pixels and tensor have the same order."""
        image, tensor = np.frombuffer(raw, np.uint8).reshape(self._shape), out[0]
        if identity:
            tensor[...] = image
            return out
        if not self._planar:
            image, tensor = image.transpose(2, 0, 1), tensor.transpose(2, 0, 1)
        for levels, pixels, plane in zip(table, image, tensor, strict=True):
            plane[...] = np.take(levels, pixels)
        return out


class _Window:
    """float32 (channels, length) as the engine collected it."""

    def __init__(self, spec: WindowInput, quantization: Quantization | None) -> None:
        self._spec = spec
        self._quantization = quantization

    def tensor(self, raw: Any) -> Array:
        floats = self.floats(raw)
        if self._quantization is None:
            return floats
        return _quantized(floats, self._quantization, self._spec.dtype)

    def floats(self, raw: Any) -> Array:
        _check_size(raw, self._spec)
        window = np.frombuffer(raw, "<f4").reshape(self._spec.channels, self._spec.length)
        if not np.isfinite(window).all():
            raise Rejected("the window holds a value that is not finite", hint="check the source's readings")
        scaled = _scaled(window.T, self._spec).astype(np.float32)
        ordered = scaled if self._spec.layout == "nlc" else scaled.T
        return np.ascontiguousarray(ordered).reshape(self._spec.shape)


def _scaled(raw: Array, spec: ImageInput | WindowInput) -> Array:
    """`raw` has its channels last."""
    x: Array = (raw * spec.scale - np.asarray(spec.mean, raw.dtype)) / np.asarray(spec.std, raw.dtype)
    return x if spec.clip is None else np.clip(x, *spec.clip)


def _quantized(floats: Array, quantization: Quantization, dtype: str) -> Array:
    scale, zero = quantization
    limits = np.iinfo(dtype)
    levels: Array = np.clip(np.rint(floats / scale) + zero, limits.min, limits.max)
    return levels.astype(dtype)


def _check_size(raw: Any, spec: ImageInput | WindowInput) -> None:
    if len(raw) != spec.raw_bytes:
        reason = f"an input of {len(raw)} bytes, expected {spec.raw_bytes}"
        raise Rejected(reason, hint="the camera's view or the window does not fit the model")
