"""Line 3 of the store's promises with the whole agent: another process fills its volume to the last byte."""

from __future__ import annotations

import contextlib
import os
import random
import select
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from demo_backend import DemoBackend

from tests.doubles.mosquitto import Mosquitto
from tests.doubles.pty_device import PtyDevice
from tests.e2e.harness import RunningAgent, site_text, wait_until
from tests.store.test_body import small_volume

RATE_HZ = 200
FLIP_S = 1.0
FULL_S = 20.0
"""Longer than the memory for rows holds what this device says: some of it has to go."""
LONGEST_PAUSE_S = 2.0
ANSWERED_S = 1.0
_FIELDS, _LINES = 40, 100

SITE = """
[[source]]
name = "press"
kind = "serial_lines"
device = "{device}"
max_line = 65536
[source.fields]
level = { type = "int" }

[[actuator]]
name = "valve"
kind = "serial"
device = "{device}"

[[rule]]
id = "relief"
when = "press.level > 5"
alert = false
for = "0s"
actions = [{ set = "valve.open", value = 1, else_value = 0 }]
"""

FILL = """
import os, select, sys
file, step = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 65536
while not select.select([sys.stdin], [], [], 0 if step > 1 else 0.01)[0]:
    try:
        os.write(file, bytes(step))
    except OSError:
        step = max(step // 2, 1)
    else:
        step = max(step, 2)
os.unlink(sys.argv[1])
"""
"""Takes every byte that becomes free, too, until its input ends; then it gives all back."""


@contextlib.contextmanager
def filled_by_another_process(volume: Path) -> Iterator[None]:
    argv = [sys.executable, "-c", FILL, str(volume / "filler")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
        yield
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(10) == 0


class Press(threading.Thread):
    """Sends readings that do not deflate, crosses the rule's bound every second, and obeys the valve's commands.

    `actions` are (reading sent, command heard), in seconds; an alarm that nobody answers stays out.
    """

    def __init__(self, device: PtyDevice) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.flips: list[float] = []
        self.actions: list[tuple[float, float]] = []
        self.done = threading.Event()
        self._device = device
        self._heard = b""
        self._ids: set[int] = set()
        rng = random.Random(1)
        letters = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~"
        self._noise = [
            ",".join(f'"f{field}":"{"".join(rng.choices(letters, k=250))}"' for field in range(_FIELDS))
            for _ in range(_LINES)
        ]

    def run(self) -> None:
        began_s, level = time.monotonic(), 1
        while not self.done.is_set():
            now_s = time.monotonic()
            if not self.flips or now_s - self.flips[-1] >= FLIP_S:
                level = 10 - level
                self.flips.append(now_s)
            self._device.send(b'{"level":%d,%s}\n' % (level, self._noise[self.sent % _LINES].encode()))
            self.sent += 1
            due_s = began_s + self.sent / RATE_HZ
            while self._listen(max(due_s - time.monotonic(), 0.0)):  # also when it is behind
                pass

    def _listen(self, timeout_s: float) -> bool:
        if not select.select([self._device.master], [], [], timeout_s)[0]:
            return False
        *lines, self._heard = (self._heard + os.read(self._device.master, 4096)).split(b"\n")
        for line in lines:
            command = msgspec.json.decode(line)
            if command["id"] not in self._ids:  # one that is asked for again, since our answer was late, is the same
                self.actions.append((self.flips[len(self._ids)], time.monotonic()))
                self._ids.add(command["id"])
            answer = {"ack": command["id"], "set": command["set"], "value": command["value"]}
            self._device.send(msgspec.json.encode(answer) + b"\n")
        return True


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small volume")
def test_row_3_rules_act_all_through_a_full_volume_and_every_drop_is_declared(tmp_path: Path) -> None:
    with (
        small_volume(tmp_path / "data", size="64M") as volume,
        small_volume(tmp_path / "run", size="256M"),  # a tmpfs, as /run is: the engine writes its event log there
        Mosquitto(tmp_path, "max_queued_messages 0") as broker,
        PtyDevice(tmp_path) as device,
    ):
        backend = DemoBackend(broker.port)
        backend.start()
        site = site_text(broker=broker.port, more=SITE).replace("{device}", device.path)
        with RunningAgent(tmp_path, site) as agent:
            agent.wait_for(lambda s: s["uplink"]["connected"] and s["sources"][0]["counts"].get("opened"), 20, "up")
            press = Press(device)
            press.start()
            agent.wait_for(lambda s: s["store"]["readings"] > RATE_HZ, 20, "readings on the disk")
            with filled_by_another_process(volume):
                agent.wait_for(lambda s: s["store"]["failing"], 20, "the store to find no room")
                kept = agent.status()["store"]["readings"]
                acted, sent = len(press.actions), press.sent
                wait_until(lambda: press.sent >= sent + FULL_S * RATE_HZ, 2 * FULL_S, "readings while it is full")
                assert agent.status()["store"]["failing"]
                assert os.statvfs(volume).f_bavail == 0
                assert len(press.actions) >= acted + FULL_S / FLIP_S - 2
            freed_s = time.monotonic()
            agent.wait_for(lambda s: not s["store"]["failing"] and s["store"]["readings"] > kept, 10, "it is back")
            back_s = time.monotonic() - freed_s
            agent.wait_for(lambda s: s["store"]["readings"] > kept + 5 * RATE_HZ, 20, "readings after it")
            press.done.set()
            press.join()
            wait_until(lambda: backend.received("press") + backend.verdict().gaps >= press.sent, 60, "everything")
            assert agent.stop() == 0
        verdict = backend.verdict()
        received, alarms = backend.received("press"), backend.received("decision")
        backend.stop()
    assert received + verdict.gaps == press.sent
    assert (verdict.lost, verdict.conflicts, verdict.refused) == (0, 0, 0), verdict.holes
    assert verdict.gaps > 0, "it was full for too short a time to try anything"
    assert len(press.flips) - 1 <= len(press.actions) <= len(press.flips), "each crossing is one action"
    assert alarms >= len(press.flips) - 1, "decisions go last"
    slowest_s = max(heard - sent for sent, heard in press.actions)
    pause_s = max(b - a for (_, a), (_, b) in zip(press.actions, press.actions[1:], strict=False))
    print(f"{press.sent} readings, {verdict.gaps} declared lost; back after {back_s:.2f} s;", end=" ")
    print(f"slowest action {slowest_s * 1e3:.0f} ms after its reading, longest pause between two {pause_s:.2f} s")
    assert slowest_s < ANSWERED_S
    assert pause_s < LONGEST_PAUSE_S
