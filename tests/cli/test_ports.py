"""`edge-agent ports scan` on pseudo-terminals: a bridge, NMEA, JSON lines, Modbus, a held port, silence."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cli.command import AS_NOBODY, as_nobody
from cli.test_status import keys_documented
from edge_agent.links.ports import find_ports
from tests.bridge.device import C_DIR, need, run
from tests.modbus.servers import Slaves

ROOT = Path(__file__).resolve().parents[2]
NMEA = "$SDDPT,2.4,0.5*54\r\n"
NDJSON = '{"Temp": 21.5, "on": true, "n": 3, "why": "x"}\n'


class Port:
    """A terminal that no process holds but who opens `path`; what it carries goes to and from `fd`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = str(path)
        self.taken = b""
        self._fd = fd
        self._master, slave = os.openpty()
        tty.setraw(slave)
        path.symlink_to(os.ttyname(slave))
        os.close(slave)
        os.set_blocking(self._master, False)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._pump)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        os.close(self._master)

    def _pump(self) -> None:
        while not self._ending.wait(0.005):
            with suppress(OSError):  # nobody has it open
                data = os.read(self._master, 4096)
                self.taken += data
                os.write(self._fd, data)
            if select.select([self._fd], [], [], 0)[0]:
                data = os.read(self._fd, 1024)
                with suppress(OSError):
                    os.write(self._master, data)


@contextmanager
def port_to(path: Path, fd: int) -> Iterator[Port]:
    port = Port(path, fd)
    try:
        yield port
    finally:
        port.close()


@contextmanager
def talking(path: Path, *command: str | Path) -> Iterator[Port]:
    """A port whose device is the standard input and output of a command."""
    ours, theirs = socket.socketpair()
    child = subprocess.Popen([str(word) for word in command], stdin=theirs, stdout=theirs)
    theirs.close()
    try:
        with port_to(path, ours.fileno()) as port:
            yield port
    finally:
        child.kill()
        child.wait()
        ours.close()


def scan(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edge_agent", "ports", "scan", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def scanned(*arguments: str) -> dict:
    done = scan("--json", *arguments)
    assert done.returncode == 0, done.stderr
    (port,) = json.loads(done.stdout)["ports"]
    return port


def assert_runs(port: dict, folder: Path) -> None:
    """The suggested table is one that `check` accepts."""
    site = folder / "site.toml"
    site.write_text('[agent]\ngateway = "gw1"\n' + port["table"])
    argv = [sys.executable, "-m", "edge_agent", "check", str(site)]
    checked = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, f"{port['table']}\n{checked.stderr}"


def says(text: str) -> tuple[str, ...]:
    code = f"import time\nwhile True:\n    print({text!r}, end='', flush=True)\n    time.sleep(0.1)\n"
    return sys.executable, "-c", code


def test_a_bridge_device_says_what_it_has(tmp_path: Path) -> None:
    need("gcc", "make")
    run("make", "-C", C_DIR, f"BUILD={tmp_path}", "posix")
    with talking(tmp_path / "usb-ACME_Press_42-if00-port0", tmp_path / "posix", "-r", "200") as tty_port:
        port = scanned(tty_port.path)
        assert port["kind"] == "serial_bridge"
        assert port["heard"].startswith("firmware bridge posix-1 1.0.0: count [1], wave [Cel]")
        assert port["device"] == tty_port.path
        assert 'name = "acme_press_42"' in port["table"]
        assert "sets: valve, rate" in port["table"]
        assert_runs(port, tmp_path)


def test_nmea_is_heard_and_its_numbers_are_named(tmp_path: Path) -> None:
    with talking(tmp_path / "sonar", *says(NMEA)) as tty_port:
        port = scanned(tty_port.path)
    assert (port["kind"], port["heard"]) == ("serial_lines", "NMEA 0183: SDDPT")
    assert 'depth = "DPT.depth"' in port["table"]
    assert_runs(port, tmp_path)


def test_json_lines_are_heard_and_their_fields_typed(tmp_path: Path) -> None:
    with talking(tmp_path / "ttyACM7", *says(NDJSON)) as tty_port:
        port = scanned(tty_port.path, "--listen-only")
    assert keys_documented("ports scan") >= port.keys()
    assert port["heard"] == "JSON lines: Temp, on, n, why"
    assert 'on = { type = "bool" }' in port["table"]
    assert_runs(port, tmp_path)


def test_a_modbus_address_answers_and_is_found_beside_silent_ones(tmp_path: Path) -> None:
    with Slaves(tmp_path) as slaves:
        slaves.silent |= {1, 2}
        far = os.open(slaves.path, os.O_RDWR | os.O_NOCTTY)
        with port_to(tmp_path / "rs485-a", far) as tty_port:
            port = scanned(tty_port.path, "--seconds", "8")
        os.close(far)
    assert (port["kind"], port["heard"]) == ("modbus", "Modbus slave 3")
    assert "slave = 3" in port["table"]
    assert_runs(port, tmp_path)


def test_a_port_that_somebody_holds_is_named_and_left_alone(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    port = scanned(os.ttyname(slave))
    assert len(port["held_by"]) == 1
    assert f"(pid {os.getpid()})" in port["held_by"][0]
    assert port["kind"] == ""
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 1)
    os.close(master)
    os.close(slave)


def test_silence_and_a_missing_port_are_said_within_the_time_and_with_progress(tmp_path: Path) -> None:
    with talking(tmp_path / "mute", sys.executable, "-c", "import time; time.sleep(60)") as tty_port:
        start = time.monotonic()
        done = scan(tty_port.path, str(tmp_path / "none"), "--seconds", "2")
        took_s = time.monotonic() - start
    assert done.returncode == 2, "a port that is named is not there"
    assert took_s < 2 + 6
    assert f"{tty_port.path} (/dev/pts/" in done.stdout
    assert "nothing known answers" in done.stdout
    assert "no such device" in done.stdout
    assert "1/2" in done.stderr
    assert "bridge hello at 921600" in done.stderr


def test_what_is_no_serial_port_is_said_before_anything_is_tried(tmp_path: Path) -> None:
    done = scan(str(tmp_path / "nope"), "/etc/passwd", str(tmp_path))
    assert done.returncode == 2
    nope, passwd, folder = done.stdout.splitlines()
    assert ("no such device" in nope, "is not a terminal" in passwd, "is a folder" in folder) == (True, True, True)
    assert [line.count(name) for line, name in ((nope, "/nope"), (passwd, "/etc/passwd"))] == [1, 1]
    assert done.stderr == ""


@AS_NOBODY
def test_port_that_is_named_and_may_not_be_opened_is_exit_code_1() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.fchmod(slave, 0o600)
    os.close(slave)
    done = as_nobody("ports", "scan", name)
    os.close(master)
    assert (done.code, done.out) == (1, f"{name}: permission denied; join the group dialout, or become root\n")


def test_listening_sends_nothing_and_asking_does(tmp_path: Path) -> None:
    with talking(tmp_path / "port", sys.executable, "-c", "import time; time.sleep(60)") as tty_port:
        assert scanned(tty_port.path, "--listen-only", "--seconds", "1")["kind"] == ""
        assert tty_port.taken == b""
        scanned(tty_port.path, "--seconds", "1")
        assert tty_port.taken != b""


def test_ports_are_named_by_their_stable_id_and_phantoms_are_left_out(tmp_path: Path) -> None:
    dev, sys_ = tmp_path / "dev", tmp_path / "sys"
    (dev / "serial" / "by-id").mkdir(parents=True)
    for name, kind in (("ttyUSB0", "4"), ("ttyS0", "0"), ("ttyS1", "4"), ("ttyACM0", None)):
        (dev / name).touch()
        (sys_ / "class" / "tty" / name).mkdir(parents=True)
        if kind:
            (sys_ / "class" / "tty" / name / "type").write_text(f"{kind}\n")
    stable = dev / "serial" / "by-id" / "usb-FTDI_42"
    stable.symlink_to("../../ttyUSB0")
    found = [port.device for port in find_ports(dev=dev, sys=sys_)]
    assert found == [str(stable), str(dev / "ttyACM0"), str(dev / "ttyS1")]
    assert [port.device for port in find_ports([str(dev / "ttyUSB0")], dev=dev, sys=sys_)] == [str(stable)]
