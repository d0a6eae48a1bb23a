"""The seam of a model runtime: load one model, run one tensor. Only worker processes import what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_agent.errors import Rejected
from edge_agent.inference.manifest import Manifest
from edge_agent.inference.tensor_spec import Quantization, TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """What the site may choose; each runtime uses what is its own."""

    threads: int = 1
    providers: tuple[str, ...] = ()
    delegate: str = ""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the model itself declares it; -1 stands for a dimension that it leaves open."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None


class Runtime(Protocol):
    """One loaded model with one input and one chosen output. `backend` names what runs it."""

    input: TensorInfo
    output: TensorInfo
    backend: str

    def run(self, tensor: Array) -> Array:
        """The output for one input of the declared shape and dtype. Raises Rejected for an input it refuses. The
        array may be overwritten by the next run."""

    def free(self) -> None:
        """Gives back what the model holds; nothing may be called afterwards."""


def choose(tensors: list[TensorInfo], spec: TensorSpec, what: str) -> TensorInfo:
    """The tensor that the manifest means, checked against it: expected and found are in the error."""
    found = [t for t in tensors if t.name == spec.tensor] if spec.tensor else tensors
    names = ", ".join(t.name for t in tensors)
    if len(found) != 1:
        meant = f'"{spec.tensor}"' if spec.tensor else f"the only {what}"
        raise Rejected(f"{what}: the manifest means {meant}, the model has {names}", hint=f"set {what}.tensor")
    tensor = found[0]
    fits = len(tensor.shape) == len(spec.shape) and all(
        of_model in (-1, wanted) for of_model, wanted in zip(tensor.shape, spec.shape, strict=True)
    )
    if tensor.dtype != spec.dtype or not fits:
        expected = f"{spec.dtype} {list(spec.shape)}"
        reason = f"{what}: the manifest says {expected}, the model has {tensor.dtype} {list(tensor.shape)}"
        raise Rejected(reason, hint=f"correct {what}.dtype and {what}.shape, or take the right model file")
    return tensor


def only_input(tensors: list[TensorInfo], manifest: Manifest) -> TensorInfo:
    """The model's one input, checked."""
    if len(tensors) != 1:
        names = ", ".join(t.name for t in tensors)
        raise Rejected(f"the model has {len(tensors)} inputs: {names}", hint="export it with one input")
    return choose(tensors, manifest.input, "input")


def dtype_name(dtype: Any) -> str:
    return str(np.dtype(dtype).name)
