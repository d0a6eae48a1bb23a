"""The Zephyr servers of smpclient's source distribution as the oracle for echo, info, upload and resume.

They are taken by hash from a folder outside the repository, which scripts/test fills and names in
EDGE_AGENT_SMP_SERVERS; what is absent is skipped with a reason.

Test, confirm and revert are not here: the images (zephyr_4.4.0_smp_server_…_serial_recovery_buf1024) are built as
RAM_LOAD and answer code 8 to a test. tests/mcu/test_flash.py shows them, on a device of our own with MCUboot's swap
semantics.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from firmware_bridge.image import parse_image
from firmware_bridge.mcu import Mcu
from firmware_bridge.smp_link import SmpLink
from firmware_bridge.update import Upload
from tests.bridge.cable import Cable
from tests.doubles.mosquitto import free_port
from tests.e2e.harness import wait_until
from tests.mcu.conftest import mcu

pytestmark = pytest.mark.slow

_BUILD = "zephyr_4.4.0_smp_server_0eae053d_"
NATIVE = f"{_BUILD}native_sim_serial_bigrx.exe"
MCUBOOT = f"{_BUILD}mps2_an385_serial_recovery_buf1024.hex"
APPLICATION = f"{_BUILD}mps2_an385_serial_recovery_buf1024.signed.bin"
HASHES = {
    NATIVE: "888a421a9251cedab04067233df5106549dcfebb2dd69593a69de3c2871203cd",
    MCUBOOT: "b17a5dbbd22e00e6e7b081e4e7e0996d8bfb4f87c1de245b96800a6e96b54d32",
    APPLICATION: "f08bc569707f95f86eb545426001555c86b2da744fc58d7f9029aa0dbaa4f840",
}


def shipped(name: str) -> Path:
    folder = os.environ.get("EDGE_AGENT_SMP_SERVERS")
    if not folder:
        pytest.skip("no EDGE_AGENT_SMP_SERVERS: scripts/test fetches smpclient's source distribution and sets it")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == HASHES[name]
    return path


@pytest.fixture
def native(tmp_path: Path):
    """The path of a cable to a Zephyr application without an image group."""
    program = tmp_path / NATIVE
    shutil.copy(shipped(NATIVE), program)
    program.chmod(0o755)
    child = subprocess.Popen([program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    words = child.stdout.readline().decode().split()
    if not words:
        child.wait()
        pytest.skip("native_sim does not start: it needs libc6-i386 and lib32gcc-s1")
    line = os.open(words[-1], os.O_RDWR | os.O_NOCTTY)
    cable = Cable(tmp_path, line)
    yield str(cable.path)
    cable.close()
    child.kill()
    child.communicate()
    os.close(line)


@pytest.fixture
def board(tmp_path: Path):
    """A cable to MCUboot and a Zephyr application in QEMU."""
    hexfile, application = shipped(MCUBOOT), shipped(APPLICATION)
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm")
    port = free_port()
    child = subprocess.Popen(
        ["qemu-system-arm", "-cpu", "cortex-m3", "-machine", "mps2-an385", "-nographic", "-chardev",
         f"socket,id=con,host=127.0.0.1,port={port},server=on,wait=off", "-serial", "chardev:con", "-serial", "null",
         "-monitor", "none", "-device", f"loader,file={hexfile}", "-device",
         f"loader,file={application},addr=0x20050000"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    line = wait_until(lambda: connected(port), 20, "QEMU's serial port")
    cable = Cable(tmp_path, line.fileno())
    yield cable
    cable.close()
    line.close()
    child.kill()
    child.wait()


def connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=1)
    except OSError:
        return None


def test_echo_and_what_it_takes_on_native_sim(native: str) -> None:
    done = mcu("ping", "--port", native, "--json")
    assert json.loads(done.stdout)["answered"] == 4, done.stderr
    link = SmpLink(native, 115_200)
    assert link.echo("é" * 100, 5.0)
    assert Mcu(link).buffer_bytes() > 256
    link.close()


def test_device_without_an_image_group_is_said_in_a_line(native: str) -> None:
    done = mcu("info", "--port", native)
    assert done.returncode == 1
    assert "is it built with MCUmgr's image group and MCUboot?" in done.stderr
    assert "Traceback" not in done.stderr


def test_info_upload_and_resume_on_mcuboot_in_qemu(board: Cable) -> None:
    link = SmpLink(str(board.path), 115_200)
    assert link.wait_back(30)
    before = json.loads(mcu_info(board, link))
    assert before["slots"][0]["active"]
    link = SmpLink(str(board.path), 115_200)
    device, image = Mcu(link), shipped(APPLICATION).read_bytes()
    digest = parse_image(image, "application").hash

    def arrived() -> bool:
        return any(s.slot == 1 and s.hash == digest for s in device.slots())

    first = Upload(image, buffer_bytes=device.buffer_bytes())
    seen: list[int] = []

    def tell(progress) -> None:
        seen.append(progress.offset)
        if progress.offset > 40_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link.upload(first, tell, arrived)
    link.close()
    board.unplug()
    time.sleep(0.2)
    board.plug()
    link = SmpLink(str(board.path), 115_200)
    device = Mcu(link)
    second = Upload(image, buffer_bytes=device.buffer_bytes())
    pull = threading.Timer(1.0, lambda: (board.unplug(), time.sleep(0.2), board.plug()))
    pull.start()
    link.upload(second, lambda _: None, arrived)
    pull.join()
    assert second.progress.began_at >= seen[-1] > 40_000
    assert second.restarts == 0
    assert arrived()
    link.close()


def mcu_info(board: Cable, link: SmpLink) -> str:
    link.close()
    done = mcu("info", "--port", str(board.path), "--json")
    assert done.returncode == 0, done.stderr
    return done.stdout
