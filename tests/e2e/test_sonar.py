"""A real depth sounder's capture, on a pseudo-terminal at line speed, comes out at an MQTT subscriber."""

from __future__ import annotations

import os
import threading
import time
import tty
from pathlib import Path
from typing import Any

import pytest
from demo_backend import DemoBackend

from edge_agent.contract.messages import Tele
from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import SHARED, RunningAgent, site_text, wait_until

CAPTURE = SHARED / "data" / "serial" / "humminbird-M37.log"
BAUD = 4_800
SITE = """
[[source]]
name = "sonar"
kind = "serial_lines"
device = "{folder}/port"
format = "nmea"
values = { depth = "DPT.depth", water_temp = "MTW.temperature" }
[source.fields]
depth = { unit = "m" }
water_temp = { unit = "Cel" }
"""

pytestmark = [pytest.mark.skipif(not CAPTURE.exists(), reason="the shared captures are not there")]


def lines() -> list[bytes]:
    return [line for line in CAPTURE.read_bytes().splitlines(keepends=True) if line.startswith((b"$", b"!"))]


def damaged(sentences: list[bytes]) -> list[bytes]:
    """One bit of one body byte of every tenth line flipped; the bit that leaves the line a line."""
    out = []
    for i, line in enumerate(sentences):
        at = 7 + i % (line.index(b"*") - 8)
        out.append(line[:at] + bytes([line[at] ^ 0x01]) + line[at + 1 :] if i % 10 == 9 else line)
    return out


class Depths:
    """Values by field, each reading once, in the order of its number."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[str, float]] = {}

    def take(self, row: object) -> None:
        if isinstance(row, Tele):
            for segment in row.seg:
                for name, channel in segment.ch.items():
                    for i, value in enumerate(channel.x):
                        if value is not None:
                            self._seen.setdefault(segment.seq0 + i, {})[name] = value

    @property
    def values(self) -> dict[str, list[float]]:
        out: dict[str, list[float]] = {"depth": [], "water_temp": []}
        for _, fields in sorted(self._seen.items()):
            for name, value in fields.items():
                out[name].append(value)
        return out


class Sounder:
    """Writes lines to a pseudo-terminal at the pace of its line speed."""

    def __init__(self, link: Path) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        link.symlink_to(os.ttyname(slave))
        self._slave = slave

    def write(self, sentences: list[bytes], baud: int) -> None:
        due = time.monotonic()
        for line in sentences:
            os.write(self._master, line)
            due += len(line) * 10 / baud
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        os.close(self._slave)
        os.close(self._master)


def expected(sentences: list[bytes], kind: bytes) -> int:
    return sum(line[3:6] == kind for line in sentences)


def sonar(agent: RunningAgent) -> dict[str, Any]:
    source: dict[str, Any] = next(s for s in agent.status()["sources"] if s["name"] == "sonar")
    return source


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True])
def test_depth_and_water_temperature_arrive_and_damaged_lines_are_refused(tmp_path: Path, flip: bool) -> None:
    whole = lines()
    written = damaged(whole) if flip else whole
    bad = [line for line, was in zip(written, whole, strict=True) if line != was]
    good = [line for line, was in zip(written, whole, strict=True) if line == was]
    port = Sounder(tmp_path / "port")
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        depths = Depths()
        backend = DemoBackend(broker.port, on_row=depths.take)
        backend.start()
        with RunningAgent(tmp_path, site_text(broker=broker.port, more=SITE)) as agent:
            agent.wait_for(lambda s: s["uplink"]["connected"] and s["sources"][0]["counts"].get("opened"), 20, "up")
            writer = threading.Thread(target=port.write, args=(written, BAUD))
            writer.start()
            writer.join()
            depth, temperature = expected(good, b"DPT"), expected(good, b"MTW")
            assert depth > 20
            assert temperature > 10
            wait_until(lambda: backend.received("sonar") >= depth + temperature, 20, "all readings at the subscriber")
            counts = sonar(agent)["counts"]
            assert agent.stop() == 0
        backend.stop()
    port.close()
    assert backend.received("sonar") == depth + temperature
    assert backend.verdict().lost == 0
    assert depths.values["depth"] == [float(line.split(b",")[1]) for line in good if line[3:6] == b"DPT"]
    assert len(depths.values["water_temp"]) == temperature
    assert counts.get("check_failed", 0) == len(bad)
