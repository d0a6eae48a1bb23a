"""A small feed-forward network in float and in int8, and its quantization after training.

Activations are int8 with a scale and a zero point for the whole tensor, weights int8 with zero point 0, biases int32:
the scheme that TFLite prescribes and that ONNX can express, so that both files hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Conv:
    """3x3 (or other) convolution, padded as TFLite's SAME: the odd pixel goes to the bottom right."""

    weight: Array
    """float32 (out, height, width, in)."""
    bias: Array
    stride: int
    relu: bool

    def run(self, x: Array) -> Array:
        """float32 (n, height, width, in) -> (n, height', width', out)."""
        _, kh, kw, _ = self.weight.shape
        (top, bottom), (left, right) = self.pads(x.shape[1], kh), self.pads(x.shape[2], kw)
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride]
        return _activated(np.einsum("nhwcij,oijc->nhwo", windows, self.weight, optimize=True) + self.bias, self.relu)

    def pads(self, size: int, kernel: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + kernel - size, 0)
        return total // 2, total - total // 2


@dataclass(frozen=True)
class Dense:
    weight: Array
    """float32 (out, in)."""
    bias: Array
    relu: bool

    def run(self, x: Array) -> Array:
        """float32 (n, ...) -> (n, out); what comes from a convolution is read height by width by channel."""
        return _activated(x.reshape(len(x), -1) @ self.weight.T + self.bias, self.relu)


Layer = Conv | Dense


def _activated(x: Array, relu: bool) -> Array:
    return np.maximum(x, 0).astype(np.float32) if relu else x.astype(np.float32)


def run(layers: Sequence[Layer], x: Array) -> list[Array]:
    """The input and every layer's output."""
    out = [x]
    for layer in layers:
        out.append(layer.run(out[-1]))
    return out


@dataclass(frozen=True)
class Scale:
    """x = (q - zero) * scale."""

    scale: float
    zero: int

    @staticmethod
    def of_range(least: float, most: float) -> Scale:
        """int8 over [least, most], in which 0 has to be exact."""
        least, most = min(least, 0.0), max(most, 0.0)
        scale = np.float32((most - least) / 255 or 1.0)
        return Scale(float(scale), int(np.clip(round(-128 - least / float(scale)), -128, 127)))


@dataclass(frozen=True)
class Quantized:
    """A layer in int8: `weight` = `weight_q` x `weight_scale`, along the outputs (per channel) or alike for all."""

    layer: Layer
    weight_q: Array
    weight_scale: Array
    bias_q: Array
    out: Scale


def quantize(
    layers: Sequence[Layer], entry: Scale, calibration: Array, *, per_channel: tuple[type, ...] = (Conv, Dense)
) -> list[Quantized]:
    """Layers in int8; ranges of activations are those seen while `calibration` runs through the float network.

    `calibration` has to reach as far as the network's input can: what lies outside the ranges is cut off. Kinds of
    layers that are not `per_channel` get one weight scale for all their outputs.
    """
    activations = run(layers, calibration)[1:]
    out: list[Quantized] = []
    for layer, seen in zip(layers, activations, strict=True):
        axes = tuple(range(1, layer.weight.ndim)) if isinstance(layer, per_channel) else None
        largest = np.abs(layer.weight).max(axis=axes)
        scales = np.broadcast_to(np.maximum(largest, 1e-9) / 127, (len(layer.weight),)).astype(np.float32)
        spread = scales.reshape(-1, *[1] * (layer.weight.ndim - 1))
        weight_q = np.clip(np.rint(layer.weight / spread), -127, 127).astype(np.int8)
        incoming = out[-1].out.scale if out else entry.scale
        bias_q = np.rint(layer.bias / (np.float32(incoming) * scales)).astype(np.int32)
        out.append(Quantized(layer, weight_q, scales, bias_q, Scale.of_range(float(seen.min()), float(seen.max()))))
    return out
