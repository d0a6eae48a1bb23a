"""What a manifest says of one tensor of a model; shared by its input and output."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Dim = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Shape = Annotated[tuple[Dim, ...], Meta(min_length=1, max_length=6)]
Dtype = Literal["float32", "int8", "uint8", "int16", "int32"]
Quantization = tuple[Annotated[float, Meta(gt=0)], int]

ITEM_BYTES = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what stands in a manifest: a key that nobody reads is an error."""


class TensorSpec(Strict, frozen=True, kw_only=True):
    """`quantization` is (scale, zero point) of an integer tensor; LiteRT models carry their own."""

    dtype: Dtype
    shape: Shape
    tensor: str = ""
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * ITEM_BYTES[self.dtype]
