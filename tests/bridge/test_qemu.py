"""The bare-metal example on an emulated Cortex-M3, driven by the real link."""

from __future__ import annotations

import os
import select
import subprocess
import time

import pytest

from firmware_bridge.errors import CommandRefused
from firmware_bridge.events import (
    Batch,
    Gap,
    GapReason,
    HealthReport,
    LogLine,
    Outcome,
    Restarted,
    SafeState,
)

from .cable import Cable
from .device import C_DIR, need, run
from .owner import Owner


class Board:
    """QEMU with its UART on a pseudo-terminal, a cable from there to the host."""

    def __init__(self, elf: object, folder: object, noise: float = 0.0) -> None:
        self.process = subprocess.Popen(
            ["qemu-system-arm", "-M", "mps2-an385", "-nographic", "-monitor", "none", "-kernel", str(elf),
             "-chardev", "pty,id=u0", "-serial", "chardev:u0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        ready, _, _ = select.select([self.process.stdout], [], [], 10)
        assert ready, "qemu said nothing within 10 s"
        words = self.process.stdout.readline().decode().split()
        self._terminal = os.open(words[4], os.O_RDWR | os.O_NOCTTY)
        self.cable = Cable(folder, self._terminal, noise)

    def close(self) -> None:
        self.cable.close()
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)
        self.process.stdout.close()


pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def elf(tmp_path_factory):
    need("qemu-system-arm", "arm-none-eabi-gcc", "make")
    folder = tmp_path_factory.mktemp("m3")
    run("make", "-C", C_DIR, f"BUILD={folder}", "m3")
    return folder / "m3.elf"


@pytest.fixture
def board(elf, tmp_path):
    board = Board(elf, tmp_path)
    yield board
    board.close()


@pytest.fixture
def owner(board):
    owner = Owner(board.cable.path)
    owner.ready()
    yield owner
    owner.link.close()


def of(kind, owner):
    return [event for event in owner.events if isinstance(event, kind)]


def test_hello_streams_and_health_of_real_firmware(owner):
    owner.until(lambda: owner.received > 300 and of(HealthReport, owner))
    assert owner.wrong == owner.declared == owner.open_gaps == 0
    device = owner.link.session.device
    assert (device.id, [s.name for s in device.streams]) == ("mps2-an385", ["count", "temp", "door"])
    assert [event.text for event in of(LogLine, owner)] == ["started"]
    assert of(HealthReport, owner)[-1].health.stack_free > 4096
    temperatures = [value for batch in of(Batch, owner)
                    for stream, value in zip(batch.streams, batch.values, strict=True) if stream == 1]  # fmt: skip
    assert all(20 <= value <= 30 for value in temperatures)
    assert temperatures


def test_an_actuator_command_is_read_back_and_its_time_is_bounded(owner):
    before = time.monotonic_ns()
    event = owner.command("valve", 12.5)
    after = time.monotonic_ns()
    assert (event.outcome, event.value) == (Outcome.DONE, 12.5)
    offset_ns, error_ns = owner.link.session.clock.offset(after)
    assert before - error_ns <= event.device_us * 1000 + offset_ns <= after + error_ns


def test_a_reboot_with_a_surviving_counter_loses_nothing_in_silence(owner):
    owner.command("burst", 2000)
    owner.command("reset", True)
    owner.until(lambda: of(Restarted, owner) and of(LogLine, owner)[-1].text == "restarted")
    seen = owner.received
    owner.until(lambda: owner.received > seen + 50)
    assert owner.open_gaps == owner.wrong == 0
    assert all(gap.reason is GapReason.DEVICE_RESET for gap in of(Gap, owner))
    boots = {batch.cursor.boot: batch.cursor.next for batch in of(Batch, owner)}
    assert len(boots) == 2


def test_a_reboot_that_loses_its_counter_has_an_open_gap(owner):
    owner.command("forget", True)
    owner.command("reset", True)
    owner.until(lambda: of(Restarted, owner))
    assert [(gap.reason, gap.end) for gap in of(Gap, owner)] == [(GapReason.DEVICE_RESET, None)]


def test_noise_and_a_pulled_cable_let_no_wrong_value_through(owner, board):
    owner.command("rate", 2000)
    board.cable.noise = 1e-3
    for _ in range(3):
        owner.until(lambda seen=owner.received: owner.received > seen + 1500, 20)
        board.cable.unplug()
        owner.step()
        board.cable.plug()
    board.cable.noise = 0
    owner.ready()
    seen = owner.received
    owner.until(lambda: owner.received > seen + 500)
    frames = owner.link.session.frames
    assert frames.damaged > 0
    assert owner.wrong == owner.holes == owner.open_gaps == 0
    last = of(Batch, owner)[-1].cursor
    assert owner.received + owner.declared == last.next


def test_a_silent_host_puts_real_firmware_in_its_safe_state_in_time(owner, board):
    assert owner.command("valve", 80.0).value == 80.0
    board.cable.unplug()
    time.sleep(1.5)
    board.cable.plug()
    owner.ready()
    owner.until(lambda: [e for e in of(SafeState, owner) if e.cause == "silence"])
    (report,) = [event for event in of(SafeState, owner) if event.cause == "silence"]
    assert report.active
    assert 1_000_000 <= report.silent_us < 1_100_000
    assert owner.command("valve", 10.0).outcome is Outcome.DONE
    assert owner.wrong == owner.holes == owner.open_gaps == 0


def test_a_power_cycle_that_repeats_the_boot_id_is_seen_as_a_restart(elf, tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    board = Board(elf, folders[0])
    owner = Owner(board.cable.path)
    owner.ready()
    owner.command("burst", 5000)
    owner.until(lambda: owner.received > 4000)
    owner.link.close()
    board.close()
    board = Board(elf, folders[1])
    again = Owner(board.cable.path, session_id=2, cursor=owner.cursor)
    again.ready()
    assert [event.rolled_back for event in of(Restarted, again)] == [True]
    assert again.open_gaps == 1
    again.link.close()
    board.close()


def accounted(owner):
    return owner.received + owner.declared


def commanded(owner, actuator, value):
    """Whether the device carried it out; a reboot or an unplugged cable may be in the way."""
    try:
        return owner.command(actuator, value).outcome is Outcome.DONE
    except CommandRefused:
        owner.step()
        return False


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_samples_with_noise_unplugs_reboots_and_host_deaths_are_all_accounted_for(elf, tmp_path):
    board = Board(elf, tmp_path, noise=1e-4)
    owner = Owner(board.cable.path)
    owner.ready(30)
    resets = 0
    for turn in range(50):
        target = accounted(owner) + 20_000
        while accounted(owner) < target:
            seen = accounted(owner)
            if commanded(owner, "burst", 2500):
                owner.until(lambda seen=seen: accounted(owner) >= seen + 2500, 20)
        while turn % 5 in (1, 3) and len(of(Restarted, owner)) <= resets:
            commanded(owner, "reset", True)
            owner.step(0.2)
        resets = len(of(Restarted, owner))
        board.cable.unplug()
        if turn % 5 == 4:
            owner.killed()
        else:
            owner.step()
        board.cable.plug()
        owner.ready(20)
    owner.link.close()
    board.close()
    assert owner.received + owner.declared >= 1_000_000
    assert owner.wrong == owner.holes == owner.open_gaps == 0
    assert resets == 20
    assert owner.damaged > 100
    print(f"{owner.received} received, {owner.declared} declared, {owner.damaged} frames damaged")
