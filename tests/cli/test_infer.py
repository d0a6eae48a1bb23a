"""`infer` gives what a lane gives, from pictures, tables and raw numbers; what cannot be run is refused with why."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from typing import Any

import pytest
from inference.packages import (
    DATA,
    MODELS,
    VWW_INPUT,
    VWW_OUTPUT,
    ae_package,
    vww_package,
    write_package,
    yolox_package,
)

from cli.command import ROOT, Done, edge_agent, in_process
from cli.test_status import keys_documented

pytestmark = pytest.mark.skipif(not MODELS.exists(), reason="../shared/data/models is not here")
TEMPERATURES = DATA / "timeseries" / "machine_temperature_system_failure.csv"
IMAGES = DATA / "images"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    vww_package(folder / "vww")
    ae_package(folder / "ae")
    yolox_package(folder / "yolox")
    write_package(folder / "rejected", MODELS / "person_detect_tflm_REJECTED.tflite", VWW_INPUT + VWW_OUTPUT)
    return folder


def infer(*arguments: str | Path) -> dict[str, Any]:
    done = edge_agent("infer", *arguments, "--json")
    assert done.code == 0, done
    document: dict[str, Any] = done.document
    return document


@pytest.mark.parametrize(("picture", "person"), [("china.jpg", 0.035), ("flower.jpg", 0.047)])
def test_scores_of_a_picture_are_the_known_ones(packages: Path, picture: str, person: float) -> None:
    told = infer(packages / "vww", IMAGES / picture)
    assert keys_documented("infer") >= told.keys()
    assert told["detail"]["scores"]["person"] == pytest.approx(person, abs=0.005)
    assert told["outputs"]["label"] == "no_person"
    assert told["model"]["version"] == "1.0.0"
    assert "litert" in told["backend"]


def test_boxes_are_in_pixels_of_the_picture_that_was_given(packages: Path) -> None:
    """The astronaut stands in a picture of 512 x 512, which the model sees in 416 x 416."""
    told = infer(packages / "yolox", IMAGES / "astronaut.png", "--runs", "1")
    best = told["detail"]["boxes"][0]
    assert best["label"] == "person"
    assert best["score"] == pytest.approx(0.93, abs=0.03)
    left, top, right, bottom = best["box"]
    assert (left, top) < (60, 60)
    assert right > 330
    assert bottom > 480
    assert told["input"] == "512x512 picture, letterbox to 416x416 bgr"


def test_page_has_the_verdict_first_then_outputs_and_latency(packages: Path) -> None:
    done = edge_agent("infer", packages / "vww", IMAGES / "china.jpg", "--runs", "3")
    lines = done.out.splitlines()
    assert lines[0] == "OK        test-model 1.0.0 on china.jpg"
    assert lines[1] == "outputs   label  no_person"
    assert any(line.startswith("latency   p50 ") and "of 3 runs; the limit is 2000 ms" in line for line in lines)
    assert any(line.startswith("backend   ") for line in lines)
    assert max(map(len, lines)) <= 80


def test_prediction_that_is_invalid_says_why_and_exits_1() -> None:
    done = edge_agent("infer", "meter-digits/1.0.0", IMAGES / "china.jpg")
    assert done.code == 1
    assert " ".join(done.out.split()).startswith("INVALID meter-digits 1.0.0 on china.jpg: the best score is ")
    assert edge_agent("infer", ROOT / "models" / "meter-digits" / "1.0.0", IMAGES / "china.jpg").code == 1


def newest(n: int) -> list[float]:
    with TEMPERATURES.open() as file:
        return [float(row["value"]) for row in csv.DictReader(file)][-n:]


def test_window_is_the_same_from_a_table_by_name_by_place_and_from_raw_floats(packages: Path, tmp_path: Path) -> None:
    values = newest(64)
    raw, bare, named = tmp_path / "window.f32", tmp_path / "bare.csv", tmp_path / "named.tsv"
    export = tmp_path / "export.csv"
    raw.write_bytes(struct.pack("<64f", *values))
    bare.write_text("".join(f"{value}\n" for value in [-99.0, *values]))
    named.write_text("time\ttemp\n" + "".join(f"{i}\t{value}\n" for i, value in enumerate(values)))
    export.write_text("time,temp [Cel],of [[degF]]\n" + "".join(f"t{i},{v},0\n" for i, v in enumerate(values)))
    told = [
        infer(packages / "ae", TEMPERATURES, "--columns", "value"),
        infer(packages / "ae", raw),
        infer(packages / "ae", bare),
        infer(packages / "ae", named, "--columns", "temp"),
        infer(packages / "ae", export, "--columns", "temp"),
        infer(packages / "ae", export, "--columns", "temp [Cel]"),
    ]
    assert len({t["outputs"]["score"] for t in told}) == 1
    assert told[0]["input"] == "1 x 64 values (value), lines 22633 to 22696"
    assert told[2]["input"] == "1 x 64 values, lines 2 to 65"


def refused(*arguments: str | Path) -> Done:
    done = edge_agent("infer", *arguments)
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.cpu_s < 2.5
    return done


@pytest.mark.parametrize(
    ("name", "content", "options", "told"),
    [
        ("a.csv", "t,value\n1,2\n", [], "has 2 columns; the model takes 1; choose and order them: --columns a,b,c"),
        ("a.csv", "t,value\n1,2\n", ["--columns", "temp"], 'has no column "temp"; its columns: t, value'),
        ("a.csv", "t [K],t [Cel]\n1,2\n", ["--columns", "t"], 'has no column "t"; its columns: t [K], t [Cel]'),
        ("a.csv", "t,value\n1,2\n", ["--columns", "t,value"], "--columns names 2; the model takes 1"),
        ("a.csv", "1\n2\n", [], "has 2 rows; the model takes 64; give more readings"),
        ("a.csv", "1\n" * 70 + "x\n" + "2\n" * 9, [], 'line 71, column 1: "x" is no finite number; mend the line'),
        ("a.csv", "1\n" * 70 + "nan\n", [], 'line 71, column 1: "nan" is no finite number'),
        ("a.csv", "t,value\n" + "1,2\n" * 64 + "1\n", ["--columns", "value"], "line 66, column 2: nothing is no"),
        ("a.csv", "", [], "has 0 columns; the model takes 1"),
        ("a.csv", "\xff\xfe\n", [], "is no table: "),
        ("a.bin", "abc", [], "has 3 bytes; 1 x 64 values are 256; give float32, little-endian"),
    ],
)  # fmt: skip
def test_file_of_another_shape_is_refused_with_what_is_wanted(
    packages: Path, tmp_path: Path, name: str, content: str, options: list[str], told: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode("latin-1"))
    done = in_process("infer", packages / "ae", file, *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_file_that_is_no_picture_is_refused(packages: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise.png"
    for content in (b"", b"hello", (IMAGES / "china.jpg").read_bytes()[:200]):
        noise.write_bytes(content)
        done = in_process("infer", packages / "vww", noise)
        assert done.code == 2
        assert "is no picture that OpenCV can read; this model takes a picture: PNG" in done.err


def test_picture_that_unpacks_to_gigabytes_is_refused(packages: Path, tmp_path: Path) -> None:
    """A PNG whose head promises 60,000 x 60,000 pixels."""
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bomb = tmp_path / "bomb.png"
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    done = refused(packages / "vww", bomb)
    assert done.code == 2


def test_package_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    picture = IMAGES / "china.jpg"
    done = in_process("infer", "nope", picture)
    assert (done.code, "there is no such package" in done.err, "meter-digits/1.0.0" in done.err) == (2, True, True)
    done = in_process("infer", "meter-digits", picture)
    assert (done.code, "name a version: 1.0.0" in done.err) == (2, True)
    done = in_process("infer", tmp_path, picture)
    assert (done.code, "there is no manifest.toml" in done.err) == (2, True)


def test_package_that_was_changed_is_refused(tmp_path: Path) -> None:
    package = vww_package(tmp_path / "vww")
    model = package / "vww_96_int8.tflite"
    content = bytearray(model.read_bytes())
    content[1000] ^= 1
    model.write_bytes(content)
    done = refused(package, IMAGES / "china.jpg")
    assert done.code == 1
    assert "sha256" in done.err
    assert "copy the package again" in done.err


def test_model_that_its_runtime_refuses_is_refused_with_the_reason(packages: Path) -> None:
    done = refused(packages / "rejected", IMAGES / "china.jpg")
    assert done.code == 1
    assert "refused: LiteRT refuses the model: quantized_dimension" in done.err


def test_model_that_is_too_slow_is_ended_at_its_deadline(tmp_path: Path) -> None:
    slow = yolox_package(tmp_path / "slow")
    manifest = slow / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("deadline_ms = 2000", "deadline_ms = 1"))
    done = refused(slow, IMAGES / "astronaut.png")
    assert done.code == 1
    assert "no answer within 1 ms; give a smaller model, more --threads, or a longer deadline_ms" in done.err


def test_provider_that_is_not_there_is_refused_and_not_replaced(packages: Path) -> None:
    done = refused(packages / "yolox", IMAGES / "astronaut.png", "--provider", "CUDAExecutionProvider")
    if done.code == 0:
        pytest.skip("there is a CUDA provider here")
    assert done.code == 1
    assert "CUDAExecutionProvider" in done.err
