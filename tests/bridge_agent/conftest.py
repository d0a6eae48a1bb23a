"""Devices for the agent: the bare-metal example in QEMU, and the POSIX example in a process."""

import pytest

from tests.bridge.device import C_DIR, need, run


@pytest.fixture(scope="session")
def elf(tmp_path_factory):
    need("qemu-system-arm", "arm-none-eabi-gcc", "make")
    folder = tmp_path_factory.mktemp("m3")
    run("make", "-C", C_DIR, f"BUILD={folder}", "m3")
    return folder / "m3.elf"


@pytest.fixture(scope="session")
def posix_device(tmp_path_factory):
    need("gcc", "make")
    folder = tmp_path_factory.mktemp("posix")
    run("make", "-C", C_DIR, f"BUILD={folder}", "posix")
    return folder / "posix"

from doubles.schemas import held_to_the_schemas  # noqa: E402, F401 - every test of this folder uses it
