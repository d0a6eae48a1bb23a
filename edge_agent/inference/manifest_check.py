"""What the types of a manifest cannot say: shapes that must fit each other, labels that must be safe to print."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_agent.inference.manifest import ImageInput, Manifest, ManifestError, WindowInput
from edge_agent.inference.outputs import Boxes, Classes, Output, ReconstructionError, Threshold, Values, signal_part
from edge_agent.inference.tensor_spec import TensorSpec

_TENSOR_BYTES = 256 * 2**20
_LABELS = 100_000
_RESERVED = {"trust", "trusted"}
_INTEGER_RANGE = {
    "int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip


def check_manifest(manifest: Manifest, place: str) -> None:
    """Raises ManifestError at the first key that cannot be."""
    _check_tensor(manifest.input, place, "input")
    _check_tensor(manifest.output, place, "output")
    _check_input(manifest.input, place)
    _check_output(manifest, place)
    _check_quantization(manifest, place)
    _check_plausible(manifest, place)


def check_labels(labels: Sequence[str], place: str) -> None:
    """Labels go to terminals, rules and topics: printable, no wildcards, no two alike."""
    for line, label in enumerate(labels, 1):
        bad = next((c for c in label if not c.isprintable() or c in "+#"), None)
        if bad is not None:
            reason = f"label {line}: character U+{ord(bad):04X} is not allowed"
            raise ManifestError(place, reason, hint="labels are printable text without + and #")
        if not label.strip() or len(label) > 64:
            reason = f"label {line}: has {len(label)} characters"
            raise ManifestError(place, reason, hint="a label has 1 to 64 characters, not only spaces")
    if len(set(labels)) < len(labels) or len(labels) > _LABELS:
        reason = f"{len(labels)} labels, {len(set(labels))} different ones"
        raise ManifestError(place, reason, hint=f"every class needs its own label; at most {_LABELS}")


def _check_tensor(tensor: TensorSpec, place: str, key: str) -> None:
    if tensor.nbytes > _TENSOR_BYTES:
        reason = f"{key}.shape: {list(tensor.shape)} takes {tensor.nbytes} bytes, more than {_TENSOR_BYTES}"
        raise ManifestError(place, reason, hint="no model for a small box needs this")
    if tensor.quantization is None:
        return
    if tensor.dtype not in _INTEGER_RANGE:
        raise ManifestError(place, f"{key}.quantization: the tensor is {tensor.dtype}", hint="remove it")
    scale, zero = tensor.quantization
    least, most = _INTEGER_RANGE[tensor.dtype]
    if not math.isfinite(scale) or not least <= zero <= most:
        reason = f"{key}.quantization: scale {scale}, zero point {zero}"
        raise ManifestError(place, reason, hint=f"a finite scale, and a zero point from {least} to {most}")


def _check_input(given: ImageInput | WindowInput, place: str) -> None:
    if given.shape[0] != 1:
        raise ManifestError(place, f"input.shape: {list(given.shape)} is not one input", hint="start it with 1")
    expected = given.channels * given.length
    if given.size != expected:
        reason = f"input.shape: {list(given.shape)} holds {given.size} values, the input has {expected}"
        raise ManifestError(place, reason, hint="correct the shape, or the view or channels and length")
    if isinstance(given, ImageInput):
        height, width, channels = given.view.height, given.view.width, given.channels
        wanted = (1, channels, height, width) if given.layout == "nchw" else (1, height, width, channels)
        if given.shape != wanted:
            reason = f"input.shape: {list(given.shape)}, but the view in {given.layout} is {list(wanted)}"
            raise ManifestError(place, reason, hint="correct the shape, the layout or the view")
    _check_scaling(given, place)


def _check_scaling(given: ImageInput | WindowInput, place: str) -> None:
    for key in ("mean", "std"):
        number = getattr(given, key)
        numbers = number if isinstance(number, tuple) else (number,)
        if isinstance(number, tuple) and len(number) != given.channels:
            reason = f"input.{key}: {len(number)} numbers for {given.channels} channels"
            raise ManifestError(place, reason, hint="one number, or one a channel")
        if not all(math.isfinite(n) and (n != 0 or key == "mean") for n in numbers):
            raise ManifestError(place, f"input.{key}: {number}", hint="finite numbers; std is not 0")
    if not math.isfinite(given.scale) or given.scale == 0:
        raise ManifestError(place, f"input.scale: {given.scale}", hint="a finite number other than 0")
    if given.clip is not None and not given.clip[0] < given.clip[1]:
        raise ManifestError(place, f"input.clip: {list(given.clip)}", hint="the lower limit comes first")


def _check_output(manifest: Manifest, place: str) -> None:
    output = manifest.output
    problem = _output_problem(output, manifest.input)
    if problem:
        raise ManifestError(place, f"output: {problem[0]}", hint=problem[1])
    for name in output.types():
        if name in _RESERVED:
            raise ManifestError(place, f'output: "{name}" is the agent\'s own signal', hint="choose another name")


def _output_problem(output: Output, given: ImageInput | WindowInput) -> tuple[str, str] | None:
    """(reason, hint) of what does not fit."""
    shape = list(output.shape)
    if isinstance(output, Classes | Boxes) and len(output.labels) != output.classes:
        reason = f"{len(output.labels)} labels for {output.classes} classes of shape {shape}"
        return reason, "one label a class, in order"
    if isinstance(output, Threshold) and output.element >= output.size:
        return f"element {output.element} of shape {shape}", f"the last one is {output.size - 1}"
    if isinstance(output, Values) and (len(output.names) != output.size or len(set(output.names)) != output.size):
        return f"{len(output.names)} names for {output.size} values", "one name a value, no two alike"
    if isinstance(output, ReconstructionError) and output.size != given.size:
        reason = f"shape {shape} has {output.size} values, the input {given.size}"
        return reason, "an autoencoder gives back its input"
    return _boxes_problem(output, given) if isinstance(output, Boxes) else None


def _boxes_problem(output: Boxes, given: ImageInput | WindowInput) -> tuple[str, str] | None:
    if not isinstance(given, ImageInput):
        return "boxes of a window", "boxes need an image"
    if given.view.fit == "resize":
        return "boxes of a stretched picture cannot be put back into it", 'use fit = "letterbox"'
    cells = sum((given.view.height // s) * (given.view.width // s) for s in output.strides)
    if output.shape != (1, cells, output.classes + 5) or output.classes < 1:
        wanted = f"[1, {cells}, 5 + classes]"
        return f"shape {list(output.shape)}, but strides {list(output.strides)} give {wanted}", "correct one of them"
    unknown = next((label for label in output.count_of if label not in output.labels), None)
    if unknown is not None:
        return f"count_of: {unknown!a} is no label", "use the labels' spelling"
    parts = [signal_part(label) for label in output.count_of]
    if len(set(parts)) < len(parts) or not all(part[:1].isalpha() for part in parts):
        return f"count_of: {parts} do not make names of signals", "leave one out"
    return None


def _check_quantization(manifest: Manifest, place: str) -> None:
    """An ONNX file keeps no scale where a caller could find it."""
    if manifest.runtime != "onnx":
        return
    for key, tensor in (("input", manifest.input), ("output", manifest.output)):
        if tensor.dtype != "float32" and tensor.quantization is None:
            reason = f"{key}.quantization is missing for an {tensor.dtype} tensor of an ONNX model"
            raise ManifestError(place, reason, hint="give [scale, zero point]")


def _check_plausible(manifest: Manifest, place: str) -> None:
    types = manifest.output.types()
    for name, (least, most) in manifest.plausible.items():
        if types.get(name) not in ("double", "int"):
            numeric = ", ".join(n for n, t in types.items() if t in ("double", "int"))
            raise ManifestError(place, f'plausible: "{name}" is no numeric output', hint=f"numeric are: {numeric}")
        if not least <= most:
            raise ManifestError(place, f"plausible.{name}: {least} .. {most}", hint="the least value comes first")
