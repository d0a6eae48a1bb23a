"""Is a model file what its manifest says? Looked at as bytes, before any library may open it."""

from __future__ import annotations

import mmap
from pathlib import Path

from edge_agent.inference.manifest import ManifestError
from edge_agent.inference.onnx_file import OnnxProblem, check_onnx
from edge_agent.inference.package_files import open_file

_KNOWN = (
    (b"\x80\x02", "a Python pickle"), (b"\x80\x03", "a Python pickle"), (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"), (b"PK", "a zip archive, as PyTorch writes"), (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"), (b"\x93NUMPY", "a numpy array"),
)  # fmt: skip
_HINT = "export the model again as {runtime}; files that can run code when opened are never opened"


def check_model_file(path: Path, runtime: str, listed: frozenset[str]) -> None:
    """Raises ManifestError unless the file is an ONNX or TFLite model. `listed`: paths an ONNX file may refer to."""
    place = str(path)
    with open_file(path, place) as f:
        head = f.read(16)
        foreign = next((what for magic, what in _KNOWN if head.startswith(magic)), "")
        if foreign:
            raise ManifestError(place, f"this is {foreign}", hint=_HINT.format(runtime=runtime))
        if runtime == "litert":
            if head[4:8] != b"TFL3":
                raise ManifestError(place, "not a TFLite model", hint=_HINT.format(runtime=runtime))
            return
        if not head:
            raise ManifestError(place, "empty", hint=_HINT.format(runtime=runtime))
        content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        check_onnx(memoryview(content), listed)
    except OnnxProblem as e:
        raise ManifestError(place, e.reason, hint=e.hint) from e
