"""The C library: clean on every compiler that is there, small, and silent under sanitizers whatever comes in."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .cable import Process
from .device import C_DIR, WARNINGS, need, run
from .owner import Owner
from .test_differential import line_noise

HERE = Path(__file__).parent
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
compilers = pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=pytest.mark.slow)])


@cache
def has_sanitizers(compiler: str) -> bool:
    program = [compiler, *SANITIZE, "-x", "c", "-", "-o", "/dev/null"]
    done = subprocess.run(program, input=b"int main(void) { return 0; }", capture_output=True, check=False)
    return done.returncode == 0


def sanitized(compiler: str, folder: Path, *sources: str | Path) -> Path:
    need(compiler)
    if not has_sanitizers(compiler):
        pytest.skip(f"{compiler} has no sanitizers here (Debian: libclang-rt-dev)")
    target = folder / f"sanitized-{compiler}"
    run(compiler, *WARNINGS, *SANITIZE, f"-I{C_DIR}", *sources, C_DIR / "fwb.c", "-o", target)
    return target


def test_it_compiles_without_a_warning(tmp_path):
    need("gcc", "make")
    assert "gcc: clean" in run("make", "-C", C_DIR, f"BUILD={tmp_path}", "check")


def test_code_and_stack_stay_below_what_the_header_states(tmp_path):
    need("arm-none-eabi-gcc", "make")
    said = run("make", "-C", C_DIR, f"BUILD={tmp_path}", "size")
    figures = re.findall(r"cortex-(\w+): (\d+) bytes of code.*?(\d+) bytes of stack", said)
    assert [name for name, _, _ in figures] == ["m0", "m3"]
    stated = int(re.search(r"Stack: at most (\d+) bytes", (C_DIR / "fwb.h").read_text())[1])
    for name, code, stack in figures:
        print(f"cortex-{name}: {code} B code, {stack} B stack")
        assert int(code) <= 6144
        assert int(stack) <= stated


@compilers
def test_unit_tests_in_c(compiler, tmp_path):
    assert "all passed" in run(sanitized(compiler, tmp_path, HERE / "unit.c"))


def feed(program: Path, data: bytes) -> dict[str, int]:
    done = subprocess.run([program], input=data, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


@compilers
def test_noise_under_sanitizers(compiler, tmp_path):
    program = sanitized(compiler, tmp_path, "-DMAIN", HERE / "sim.c")
    stats = feed(program, line_noise(random.Random(3), 300_000))
    assert stats["good"] > 1000
    assert stats["crc_errors"] > 100
    assert stats["unknown"] > 100


@pytest.mark.long
@compilers
def test_ten_million_bytes_under_sanitizers(compiler, tmp_path):
    program = sanitized(compiler, tmp_path, "-DMAIN", HERE / "sim.c")
    dice = random.Random(4)
    data = b"".join(line_noise(dice, 50_000) + dice.randbytes(50_000) for _ in range(100))
    assert feed(program, data)["good"] > 10_000


def test_the_arduino_sketch_works_as_it_stands(tmp_path):
    need("g++")
    target = tmp_path / "sketch"
    sketch = C_DIR / "examples" / "arduino" / "arduino.ino"
    run("gcc", *WARNINGS, "-c", f"-I{C_DIR}", C_DIR / "fwb.c", "-o", tmp_path / "fwb.o")
    run(
        "g++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{C_DIR}",
        "-include",
        HERE / "arduino_core.h",
        "-x",
        "c++",
        sketch,
        "-x",
        "none",
        tmp_path / "fwb.o",
        "-o",
        target,
    )
    device = Process(target)
    from .cable import Cable

    cable = Cable(tmp_path, device.fd)
    owner = Owner(cable.path)
    ready = owner.ready()
    assert ready.device.id == "greenhouse-7"
    assert owner.command("relay", 1.0).value == 1.0
    owner.until(lambda: any(getattr(event, "values", None) for event in owner.events))
    owner.link.close()
    cable.close()
    device.close()


def test_the_tools_that_were_missing_are_said():
    missing = [
        tool for tool in ("gcc", "clang", "g++", "arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(tool)
    ]
    if missing:
        pytest.skip(f"not checked here: {', '.join(missing)}")
