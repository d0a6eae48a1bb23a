"""From the microcontroller to the subscriber nothing is lost in silence: real firmware, real agent, real broker."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from demo_backend import DemoBackend

from firmware_bridge.events import Gap
from tests.bridge.owner import Owner
from tests.bridge.test_qemu import Board
from tests.bridge_agent.ledger import Account, Firmware, Subscriber
from tests.bridge_agent.site import SITE
from tests.doubles.mosquitto import Mosquitto
from tests.doubles.pty_device import PtyDevice
from tests.e2e.harness import RunningAgent, site_text, wait_until

RATE = 4000
"""Samples a second; more than the device's ring holds between two commits, so that it also has losses to declare."""


class World:
    """Device, cable, agent, broker and subscriber of one campaign."""

    def __init__(self, elf: Path, folder: Path, noise: float) -> None:
        self.stack = ExitStack()
        broker = self.stack.enter_context(Mosquitto(folder, "max_queued_messages 0", verbose=False))
        self.subscriber = Subscriber("board")
        self.backend = DemoBackend(broker.port, on_row=self.subscriber.take)
        self.backend.start()
        self.stack.callback(self.backend.stop)
        self.panel = self.stack.enter_context(PtyDevice(folder))
        self.board = Board(elf, folder, noise)
        self.firmware = Firmware()
        self.board.cable.tap = self.firmware.hear
        self.stack.callback(self.board.close)
        self.agent = RunningAgent(folder, site_text(broker=broker.port, more=SITE.replace("RATE", str(RATE))))
        self.stack.callback(self.agent.kill)
        self.agent.start()

    def flowing(self, count: int = 500) -> None:
        goal = self.subscriber.received + count
        wait_until(lambda: self.subscriber.received >= goal, 60, f"{count} more readings; {self.agent.tail()}")

    def accounted_for(self, goal: int) -> None:
        wait_until(lambda: self.subscriber.accounted >= goal, 240, f"{goal} samples; {self.agent.tail()}")

    def unplug(self, away_s: float) -> None:
        self.board.cable.unplug()
        time.sleep(away_s)  # the length of the outage is what this is about
        self.board.cable.plug()

    def reboot(self, *, unheard: bool) -> None:
        """Asks until the source says that the device came back. `unheard`: with samples that never arrive."""
        before, ends = self._restarts(), len(self.firmware.ends)
        if unheard:
            self.board.cable.mute = True
            sent = self.firmware.frames
            wait_until(lambda: self.firmware.frames > sent + 10, 10, "samples that nobody hears")
        self.panel.send(b'{"reset":1}\n')
        if unheard:
            wait_until(lambda: len(self.firmware.ends) > ends, 30, "the device answers in its next boot")
            self.board.cable.mute = False
        self.agent.wait_for(lambda s: _restarts(s) > before, 30, "the device has started anew")
        self.panel.send(b'{"reset":0}\n')

    def kill(self) -> None:
        self.agent.kill()
        self.agent.start()

    def _restarts(self) -> int:
        return _restarts(self.agent.status())

    def halted(self) -> None:
        """Production stops, and what is on its way arrives."""
        self.board.cable.noise = 0
        self.panel.send(b'{"halt":1}\n')
        last, end_s = -1, time.monotonic() + 240
        while last != (last := self.subscriber.accounted) or self._owing():
            assert time.monotonic() < end_s, f"what was committed does not arrive; {self.agent.tail()}"
            time.sleep(1.0)  # several commits and acknowledgements: silence can only be waited for

    def _owing(self) -> bool:
        uplink = self.agent.status()["uplink"]
        return bool(uplink["waiting"] or uplink["uncovered"])

    def acknowledged(self) -> int:
        """Stops the agent, and asks the device up to where it was told that its samples are safe."""
        assert self.agent.stop() == 0
        owner = Owner(self.board.cable.path)
        ready = owner.ready()
        owner.link.close()
        gaps = [event.first for event in owner.events if isinstance(event, Gap)]
        return min([ready.cursor.next, *gaps])


def _part(status: dict, name: str) -> dict:
    return next(part for part in status["sources"] if part["name"] == name)


def _restarts(status: dict) -> int:
    return _part(status, "board")["counts"].get("device_restarts", 0)


def campaign(elf: Path, folder: Path, *, samples: int, unplugs: int, reboots: int, kills: int) -> Account:
    rng = random.Random(4)
    acts = ["unplug"] * unplugs + ["reboot"] * reboots + ["kill"] * kills
    rng.shuffle(acts)
    world = World(elf, folder, noise=1e-4)
    with world.stack:
        for i, act in enumerate(acts):
            goal = samples * (i + 1) // (len(acts) + 1)
            world.accounted_for(goal)
            if act == "unplug":
                world.unplug(rng.choice((0.01, 0.1, 0.4, 1.3)))
            elif act == "reboot":
                world.reboot(unheard=len(world.firmware.ends) % 2 == 0)
            else:
                time.sleep(rng.random() * 0.3)  # anywhere between two commits
                world.kill()
            world.flowing()
        world.accounted_for(samples)
        world.halted()
        account, verdict = world.subscriber.account(), world.backend.verdict()
        acknowledged = world.acknowledged()
        print(f"\n{account}\n{verdict}\nacknowledged to the device: {acknowledged}")
    assert account.wrong == []
    assert verdict.lost == verdict.conflicts == 0
    # received + declared is all that the device ever numbered
    assert acknowledged == account.place
    assert account.readings + sum(account.declared.values()) >= samples
    # and in each boot that is over, what the firmware counted in RAM that a reset leaves alone
    assert account.ends == world.firmware.ends
    assert len(account.ends) >= reboots
    return account


@pytest.mark.slow
def test_received_and_declared_are_what_the_firmware_produced(elf, tmp_path):
    campaign(elf, tmp_path, samples=30_000, unplugs=3, reboots=2, kills=1)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_million_samples_with_noise_unplugs_reboots_and_kills_are_all_accounted_for(elf, tmp_path):
    campaign(elf, tmp_path, samples=1_000_000, unplugs=50, reboots=20, kills=10)
