"""A model package on disk: read, checked against its own manifest, ready for a lane. No library of any model runs.

What is wrong is a `ManifestError` with the file and key, and what to do.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_agent.inference.manifest import Manifest, ManifestError
from edge_agent.inference.manifest_check import check_labels, check_manifest
from edge_agent.inference.model_file import check_model_file
from edge_agent.inference.outputs import Boxes, Classes
from edge_agent.inference.package_files import read_file, verify_files
from edge_agent.types import ModelRef

MANIFEST = "manifest.toml"
_TEXT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Package:
    """A checked package. `manifest.output` has its labels, also where they stand in a file of their own."""

    directory: Path
    manifest: Manifest
    sha256: str
    """Of the manifest's bytes, which hold the hashes of all other files: it names the whole package."""

    @property
    def model_path(self) -> Path:
        return self.directory / self.manifest.model

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.manifest.name, self.manifest.version, self.sha256)


def load_package(directory: Path) -> Package:
    """Reads `manifest.toml`, verifies every listed file, and refuses what could not work or must not be opened."""
    place = str(directory / MANIFEST)
    content = read_file(directory / MANIFEST, _TEXT_BYTES, place)
    manifest = _decode(content, place)
    listed = verify_files(directory, manifest.files, place)
    if manifest.model not in listed:
        reason = f'model: "{manifest.model}" is not among the listed files'
        raise ManifestError(place, reason, hint="add it to [[files]] with its size and sha256")
    manifest = _with_labels(directory, manifest, listed)
    check_manifest(manifest, place)
    check_model_file(directory / manifest.model, manifest.runtime, listed)
    return Package(directory, manifest, hashlib.sha256(content).hexdigest())


def _decode(content: bytes, place: str) -> Manifest:
    try:
        return msgspec.convert(tomllib.loads(content.decode("utf-8")), Manifest)
    except UnicodeDecodeError as e:
        raise ManifestError(place, f"byte {e.start} is not UTF-8", hint="save the file as UTF-8") from e
    except tomllib.TOMLDecodeError as e:
        raise ManifestError(place, f"not TOML: {e}", hint="correct the line") from e
    except RecursionError as e:
        raise ManifestError(place, "nested too deeply", hint="a manifest needs three levels") from e
    except msgspec.ValidationError as e:
        hint = "`python -m pydoc edge_agent.inference.manifest` explains every key"
        raise ManifestError(place, str(e), hint=hint) from e


def _with_labels(directory: Path, manifest: Manifest, listed: frozenset[str]) -> Manifest:
    """The manifest with the labels of `labels_file` in it; labels are checked wherever they come from."""
    place = str(directory / MANIFEST)
    output = manifest.output
    if not isinstance(output, Classes | Boxes):
        return manifest
    if bool(output.labels) == bool(output.labels_file):
        raise ManifestError(place, "output: needs labels or labels_file", hint="give one of the two")
    if output.labels:
        check_labels(output.labels, place)
        return manifest
    if output.labels_file not in listed:
        reason = f'output.labels_file: "{output.labels_file}" is not among the listed files'
        raise ManifestError(place, reason, hint="add it to [[files]] with its size and sha256")
    path = directory / output.labels_file
    labels = _read_labels(path)
    check_labels(labels, str(path))
    return msgspec.structs.replace(manifest, output=msgspec.structs.replace(output, labels=labels))


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        text = read_file(path, _TEXT_BYTES, str(path)).decode("utf-8")
    except UnicodeDecodeError as e:
        raise ManifestError(str(path), f"byte {e.start} is not UTF-8", hint="save the file as UTF-8") from e
    # not splitlines: a carriage return or another separator inside a label is for check_labels to find
    return tuple(text.removesuffix("\n").split("\n"))
