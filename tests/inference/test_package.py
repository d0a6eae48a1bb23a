"""A package that cannot work, or must not be opened, is refused before any library sees it: typed, with its place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.inference.manifest import ManifestError, output_types
from edge_agent.inference.package import load_package

from . import onnx_bytes
from .packages import MODELS, VWW_INPUT, VWW_OUTPUT, plain_package, write_package, yolox_package

needs_models = pytest.mark.skipif(not MODELS.exists(), reason="../shared/data/models is not here")

CLASSES = VWW_OUTPUT.replace("int8", "float32").replace("[1, 2]", "[1, 4]")


def edited(directory: Path, edit: Callable[[str], str]) -> Path:
    package = plain_package(directory, onnx_bytes.identity())
    manifest = package / "manifest.toml"
    manifest.write_text(edit(manifest.read_text()))
    return package


def refused(directory: Path) -> ManifestError:
    """The error, which came quickly, with a place and a hint."""
    began = time.monotonic()
    with pytest.raises(ManifestError) as caught:
        load_package(directory)
    assert time.monotonic() - began < 1.0
    assert caught.value.hint
    assert str(directory) in caught.value.place
    return caught.value


def test_package_is_read_with_its_name_version_and_the_hash_that_names_all_of_it(tmp_path: Path) -> None:
    package = load_package(plain_package(tmp_path / "a", onnx_bytes.identity()))
    other = load_package(plain_package(tmp_path / "b", onnx_bytes.endless()))
    assert (package.ref.name, package.ref.version) == ("test-model", "1.0.0")
    assert package.ref.sha256 != other.ref.sha256
    assert output_types(package.manifest) == {"a": "double", "b": "double", "c": "double", "d": "double"}


@needs_models
def test_labels_from_a_file_are_those_of_the_manifest(tmp_path: Path) -> None:
    package = load_package(yolox_package(tmp_path))
    assert len(package.manifest.output.labels) == 80
    types = output_types(package.manifest)
    assert types["person_count"] == "int"
    assert types["car_score"] == "double"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format"),
        ('name = "test-model"', 'name = "Test Model"', "name"),
        ('version = "1.0.0"', 'version = "../1"', "version"),
        ('version = "1.0.0"', "version = 1.0", "version"),
        ("deadline_ms = 2000", "deadline_ms = 0", "deadline_ms"),
        ("deadline_ms = 2000", "deadlin_ms = 2000", "deadlin_ms"),
        ('policy = "every"', 'policy = "some"', "policy"),
        ('runtime = "onnx"', 'runtime = "torch"', "runtime"),
        ('model = "model.onnx"', 'model = "other.onnx"', "other.onnx"),
        ("shape = [1, 4]", "shape = [1, -4]", "shape"),
        ("shape = [1, 4]", "shape = [1, 5]", "holds 5 values"),
        ("shape = [1, 4]", "shape = [2, 2]", "not one input"),
        ("shape = [1, 4]", "shape = [1, 4, 1000000000]", "shape"),
        ("length = 4", "length = 1000000000000", "length"),
        ('dtype = "float32"', 'dtype = "float64"', "dtype"),
        ("length = 4", "length = 4\nmean = [1.0, 2.0]", "2 numbers for 1 channels"),
        ("length = 4", "length = 4\nstd = 0.0", "std"),
        ("length = 4", "length = 4\nstd = inf", "std"),
        ("length = 4", "length = 4\nclip = [4.0, 4.0]", "clip"),
        ("length = 4", "length = 4\nscale = nan", "scale"),
        ("length = 4", "length = 4\nquantization = [1.0, 0]", "quantization"),
        ('names = ["a", "b", "c", "d"]', 'names = ["a", "b", "c"]', "3 names for 4 values"),
        ('names = ["a", "b", "c", "d"]', 'names = ["a", "b", "c", "c"]', "names"),
        ('names = ["a", "b", "c", "d"]', 'names = ["a", "b", "c", "trust"]', "trust"),
        ("[output]", "[plausible]\nz = [0.0, 1.0]\n[output]", '"z" is no numeric output'),
        ("[output]", "[plausible]\na = [1.0, 0.0]\n[output]", "plausible.a"),
        ("[output]", "[output]\n[output]", "not TOML"),
        ("format = 1", "format = 1\nformat = 1", "not TOML"),
        ("format = 1", "x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_manifest_that_cannot_be_is_refused_with_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    error = refused(edited(tmp_path, lambda text: text.replace(old, new, 1)))
    assert said in str(error)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ('["a", "b", "c"]', "3 labels for 4 classes"),
        ('["a", "b", "c", "c"]', "3 different ones"),
        ('["a", "b", "c\\nd", "e"]', "label 3: character U+000A"),
        ('["a", "b", "c", "\\u001b[31mred"]', "label 4: character U+001B"),
        ('["a", "#", "c", "d"]', "label 2: character U+0023"),
        ('["a", "b+", "c", "d"]', "label 2: character U+002B"),
        ('["a", "", "c", "d"]', "label 2: has 0 characters"),
    ],
)
def test_labels_that_do_not_fit_or_are_not_safe_to_print_are_refused(tmp_path: Path, labels: str, said: str) -> None:
    output = CLASSES.replace('["no_person", "person"]', labels)
    assert said in str(refused(plain_package(tmp_path, onnx_bytes.identity(), output=output)))


def test_file_of_another_size_or_content_is_refused(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.identity())
    content = (package / "model.onnx").read_bytes()
    (package / "model.onnx").write_bytes(content + b"\0")
    assert "has 68 bytes, not 67" in str(refused(package)) or "bytes, not" in str(refused(package))
    (package / "model.onnx").write_bytes(content[:-1] + b"\x12")
    assert "sha256" in str(refused(package))
    (package / "model.onnx").unlink()
    assert "cannot open model.onnx" in str(refused(package))


@pytest.mark.parametrize("path", ["../model.onnx", "/etc/hostname", "a/../../x", "..\\\\x", "x\\u001b"])
def test_path_that_leaves_the_package_is_refused(tmp_path: Path, path: str) -> None:
    error = refused(edited(tmp_path, lambda text: text.replace('path = "model.onnx"', f'path = "{path}"')))
    assert "does not stay inside the package" in str(error)


def test_links_devices_and_fifos_are_refused_without_waiting(tmp_path: Path) -> None:
    package = plain_package(tmp_path / "p", onnx_bytes.identity())
    model = package / "model.onnx"
    outside = tmp_path / "outside.onnx"
    model.rename(outside)
    model.symlink_to(outside)
    assert "leads out of the package" in str(refused(package))
    model.unlink()
    os.mkfifo(model)
    assert "not a regular file" in str(refused(package))
    (package / "manifest.toml").unlink()
    os.mkfifo(package / "manifest.toml")
    assert "not a regular file" in str(refused(package))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n.", "a Python pickle"),
        (b"(S'echo hello'\nios\nsystem\n.", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (b"", "empty"),
        (b"hello world, this is no model", "not an ONNX model"),
        (onnx_bytes.identity()[:-5], "malformed"),
        (onnx_bytes.number(1, 8), "it has no graph"),
    ],
)
def test_what_is_no_model_is_refused_and_never_opened(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in str(refused(plain_package(tmp_path, content)))


@needs_models
def test_model_of_the_other_runtime_is_refused(tmp_path: Path) -> None:
    vww = MODELS / "vww_96_int8.tflite"
    as_onnx = write_package(tmp_path / "a", vww, VWW_INPUT + VWW_OUTPUT, runtime="onnx")
    text = (as_onnx / "manifest.toml").read_text()
    quantized = text.replace('dtype = "int8"', 'dtype = "int8"\nquantization = [0.5, 0]')
    (as_onnx / "manifest.toml").write_text(quantized)
    assert "not an ONNX model" in str(refused(as_onnx))
    as_litert = plain_package(tmp_path / "b", onnx_bytes.identity(), runtime="litert")
    assert "not a TFLite model" in str(refused(as_litert))


def test_operator_of_a_foreign_domain_is_refused_by_name(tmp_path: Path) -> None:
    error = str(refused(plain_package(tmp_path, onnx_bytes.foreign_operator())))
    assert "'Steal'" in error
    assert "'com.example'" in error


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "weights.bin"])
def test_weights_in_a_file_that_is_not_listed_are_refused(tmp_path: Path, location: str) -> None:
    error = str(refused(plain_package(tmp_path, onnx_bytes.external_data(location))))
    assert repr(location) in error


def test_integer_tensor_of_an_onnx_model_needs_its_scale(tmp_path: Path) -> None:
    error = refused(edited(tmp_path, lambda text: text.replace('dtype = "float32"', 'dtype = "int8"', 1)))
    assert "input.quantization is missing" in str(error)


def test_boxes_need_a_picture_and_cells_that_fit_it(tmp_path: Path) -> None:
    boxes = '[output]\nkind = "boxes"\ndtype = "float32"\nshape = [1, 10, 7]\nlabels = ["a", "b"]\n'
    assert "boxes need an image" in str(refused(plain_package(tmp_path / "a", onnx_bytes.identity(), output=boxes)))
    view = '[input]\nkind = "image"\nview = { width = 64, height = 64, fit = "FIT" }\nlayout = "nchw"\n'
    image = view + 'dtype = "float32"\nshape = [1, 3, 64, 64]\n'
    wrong = image.replace("FIT", "letterbox")
    assert "[1, 84, 5 + classes]" in str(
        refused(plain_package(tmp_path / "b", onnx_bytes.identity(), given=wrong, output=boxes))
    )
    stretched = image.replace("FIT", "resize")
    right = boxes.replace("[1, 10, 7]", "[1, 84, 7]")
    assert "letterbox" in str(
        refused(plain_package(tmp_path / "c", onnx_bytes.identity(), given=stretched, output=right))
    )


def test_loading_a_package_brings_no_library_of_models_into_the_process(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.identity())
    heavy = "numpy cv2 onnxruntime ai_edge_litert tflite_runtime"
    code = (
        "import sys; from pathlib import Path; from edge_agent.inference.package import load_package\n"
        "import edge_agent.inference.lane, edge_agent.sources.camera, edge_agent.inference.probe\n"
        f"load_package(Path({str(package)!r})); print(*[m for m in {heavy!r}.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


