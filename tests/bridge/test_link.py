"""link.py on pseudo-terminals: exclusive, reopened by its stable name, nothing lost when the cable is pulled."""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty

import pytest

from firmware_bridge.errors import LinkDown, PortBusy
from firmware_bridge.events import CommandPending, LogLine, Outcome, SafeState
from firmware_bridge.frame import Decoder, seal
from firmware_bridge.link import Link, Port
from firmware_bridge.messages import Command
from firmware_bridge.session import Session

from .cable import Cable, Process
from .device import C_DIR, need, run
from .owner import Owner


@pytest.fixture(scope="session")
def posix_device(tmp_path_factory):
    """The POSIX example, under sanitizers."""
    need("gcc", "make")
    folder = tmp_path_factory.mktemp("posix")
    run("make", "-C", C_DIR, f"BUILD={folder}", "posix")
    return folder / "posix"


@pytest.fixture
def site(posix_device, tmp_path):
    device = Process(posix_device, "-r", "500")
    cable = Cable(tmp_path, device.fd)
    owner = Owner(cable.path)
    yield owner, cable, device
    owner.link.close()
    cable.close()
    assert "ERROR" not in device.close()


def test_a_missing_port_is_down_with_a_hint(tmp_path):
    with pytest.raises(LinkDown) as down:
        Port(str(tmp_path / "none"), 115200)
    assert "cable" in down.value.hint


def test_a_file_that_is_no_terminal_is_down():
    with pytest.raises(LinkDown):
        Port(os.devnull, 115200)


def test_a_port_held_by_another_is_busy_and_the_holder_is_named():
    master, slave = pty.openpty()
    held = Port(os.ttyname(slave), 115200)
    with pytest.raises(PortBusy):
        Port(os.ttyname(slave), 115200)
    held.close()
    Port(os.ttyname(slave), 115200).close()
    os.close(master)
    os.close(slave)


def test_a_hang_up_is_told_apart_from_silence():
    master, slave = pty.openpty()
    tty.setraw(slave)
    port = Port(os.ttyname(slave), 115200)
    os.close(slave)
    os.write(master, b"last words")
    select.select([port], [], [], 1)
    assert port.read() == b"last words"
    os.close(master)
    for _ in range(2):
        with pytest.raises(LinkDown):
            port.read()
    with pytest.raises(LinkDown):
        port.write(b"x")
    port.close()


def test_close_from_another_thread_ends_a_waiting_step(tmp_path):
    link = Link(str(tmp_path / "none"), 115200, Session(1))
    timer = threading.Timer(0.1, link.close)
    timer.start()
    start = time.monotonic()
    link.step(5.0)
    link.step(0.2)
    assert time.monotonic() - start < 2
    timer.join()


class Terminal:
    """A link on a terminal, with a clock that is turned by hand; `pauses` are those it made."""

    def __init__(self, monkeypatch):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.now_ms, self.pauses = 0, []
        monkeypatch.setattr("firmware_bridge.link.time.sleep", self.pauses.append)
        path = os.ttyname(self.slave)
        self.link = Link(path, 921_600, Session(1), now_ns=lambda: self.now_ms * 1_000_000)

    def turns(self, count, ms, data):
        for _ in range(count):
            self.now_ms += ms
            os.write(self.master, data)
            self.link.step(1.0)

    def close(self):
        self.link.release()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal(monkeypatch)
    yield terminal
    terminal.close()


SHORT, FULL = seal(0x44, 0, bytes(24)), seal(0x44, 0, bytes(240))


def test_only_a_line_in_continuous_use_is_read_seldom(terminal):
    terminal.turns(100, 1, SHORT)
    terminal.turns(1, 10, SHORT)
    terminal.turns(1, 1, 9 * SHORT)  # the rest of what came while this machine was busy
    terminal.turns(50, 1, SHORT)
    assert set(terminal.pauses) == {0.001}
    terminal.turns(50, 5, 14 * SHORT)
    assert terminal.pauses[-1] == 0.005
    terminal.turns(1, 1000, SHORT)
    terminal.turns(50, 1, SHORT)
    assert terminal.pauses[-1] == 0.001


def test_a_device_with_a_backlog_is_read_more_seldom_still_but_its_answers_soon(terminal):
    terminal.turns(50, 16, 5 * FULL)
    assert terminal.pauses[-10:].count(0.016) > 5
    terminal.pauses.clear()
    terminal.turns(1, 250, FULL)  # a hello is
    terminal.turns(2, 1, FULL)
    assert terminal.pauses[-2:] == [0.005, 0.016]
    terminal.turns(300, 1, SHORT)
    assert terminal.pauses[-1] == 0.001


def test_noise_is_no_backlog(terminal):
    terminal.turns(300, 1, b"\x55" * 30)
    assert set(terminal.pauses) == {0.001}


def test_a_terminal_that_is_nearly_full_is_emptied_without_a_pause(terminal):
    terminal.turns(20, 5, 9 * FULL)
    pauses = len(terminal.pauses)
    terminal.turns(20, 5, 9 * FULL)
    assert len(terminal.pauses) == pauses


def test_streams_commands_and_logs_of_the_posix_example(site):
    owner, _, _ = site
    device = owner.ready().device
    assert [stream.name for stream in device.streams if stream] == ["count", "wave", "door", "reply"]
    assert owner.command("valve", 12.5).value == 12.5
    assert owner.command("motor", -3).outcome is Outcome.DONE
    owner.until(lambda: owner.received > 300)
    assert owner.wrong == 0
    assert [event.text for event in owner.events if isinstance(event, LogLine)] == ["started"]
    assert any(isinstance(event, CommandPending) for event in owner.events)


def test_a_command_is_written_before_the_call_returns(site, monkeypatch):
    owner, _, _ = site
    owner.ready()
    written = []
    monkeypatch.setattr(Port, "write", lambda _, data: written.append(data))
    owner.link.command("valve", 13.0, 1.0)
    assert Command.TYPE in [kind for kind, _, _ in Decoder().feed(b"\0" + b"".join(written))]


def test_a_cable_pulled_in_the_middle_of_frames_loses_nothing(site):
    owner, cable, _ = site
    owner.ready()
    for _ in range(5):
        owner.until(lambda seen=owner.received: owner.received > seen + 50)
        cable.unplug()
        owner.step()
        cable.plug()
        owner.ready()
    assert owner.link.reconnects == 6
    assert owner.declared == owner.open_gaps == owner.wrong == owner.holes == 0
    firsts = [event.first for event in owner.events if hasattr(event, "device_us") and hasattr(event, "streams")]
    assert firsts == sorted(set(firsts))


@pytest.mark.slow
def test_noise_lets_no_wrong_value_through_and_loses_nothing(site):
    owner, cable, _ = site
    owner.ready()
    cable.noise = 1e-3
    owner.until(lambda: owner.received > 2500, 20)
    cable.noise = 0
    assert owner.link.session.frames.damaged > 0
    assert owner.declared == owner.open_gaps == owner.wrong == owner.holes == 0


def test_the_port_that_comes_back_as_another_terminal_is_found_again(site):
    owner, cable, _ = site
    owner.ready()
    before = cable.path.readlink()
    # The name moves to a new terminal while the old one stays open and mute.
    old_master, old_slave = cable._master, cable._slave
    cable.plug()
    assert cable.path.readlink() != before
    owner.ready(5)
    assert owner.link.reconnects == 2
    os.close(old_slave)
    os.close(old_master)


def test_a_host_away_for_longer_than_declared_finds_safe_actuators(site):
    owner, cable, _ = site
    owner.ready()
    assert owner.command("valve", 80.0).value == 80.0
    cable.unplug()
    time.sleep(1.3)
    cable.plug()
    owner.ready()
    reports = [event for event in owner.events if isinstance(event, SafeState) and event.cause == "silence"]
    owner.until(lambda: reports or [e for e in owner.events if isinstance(e, SafeState) and e.cause == "silence"], 2)
    (report,) = [event for event in owner.events if isinstance(event, SafeState) and event.cause == "silence"]
    assert 1_000_000 <= report.silent_us < 1_100_000
    assert owner.command("valve", 10.0).outcome is Outcome.DONE
