"""The demo's controller is a real device on a real terminal, and its count of samples is exact."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.sources.motor_sensors import InstrumentedMotor

SCRIPT = Path(__file__).parents[2] / "scripts/demo_device.py"
_spec = importlib.util.spec_from_file_location("demo_device", SCRIPT)
demo_device = importlib.util.module_from_spec(_spec)
sys.modules["demo_device"] = demo_device
_spec.loader.exec_module(demo_device)


@pytest.fixture
def controller():
    return demo_device.Controller(InstrumentedMotor(7))


def read_lines(fd, enough, timeout_s=10.0):
    """Lines until `enough(lines)`."""
    content, deadline_s = b"", time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        lines = content.split(b"\n")[:-1]
        if enough(lines):
            return lines
        if select.select([fd], [], [], 0.1)[0]:
            content += os.read(fd, 4096)
    raise AssertionError(f"only {content!r}")


def test_relay_switches_the_motor_and_is_read_back(controller):
    assert json.loads(controller.sample(1.0))["relay"] == 1
    answer = json.loads(controller.obey(b'{"set":"relay","value":0,"id":7}'))
    assert answer == {"ack": 7, "set": "relay", "value": 0, "error": ""}
    controller.sample(60.0)
    sample = json.loads(controller.sample(60.0))
    assert (sample["relay"], sample["seq"]) == (0, 3)
    assert sample["speed"] < 10


def test_what_it_does_not_have_is_refused_and_noise_is_no_command(controller):
    assert json.loads(controller.obey(b'{"set":"pump","value":1,"id":8}'))["error"] == "unknown"
    assert controller.obey(b"\xff{noise") is None
    assert (controller.report.refused, controller.report.garbage, controller.report.commands) == (1, 1, 0)


def test_every_sample_counted_as_produced_arrives_whole(tmp_path):
    link = tmp_path / "motor"
    command = [sys.executable, str(SCRIPT), "--link", str(link), "--rate", "200", "--samples", "300", "--boot", "0"]
    device = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        device.stdout.readline()
        port = os.open(link, os.O_RDWR | os.O_NOCTTY)
        device.stdin.write(b'{"fault": {"kind": "dropout", "field": "temp"}}\n')
        device.stdin.flush()
        os.write(port, b'{"set":"relay","value":0,"id":41}\n')
        lines = read_lines(port, lambda lines: len(lines) >= 301)
        said = [json.loads(line) for line in lines]
        samples = [row for row in said if "seq" in row]
        report = json.loads(device.stdout.readline())
        assert [row["seq"] for row in samples] == list(range(1, 301))
        assert [row for row in said if "ack" in row] == [{"ack": 41, "set": "relay", "value": 0, "error": ""}]
        assert samples[-1]["temp"] is None
        assert (report["produced"], report["commands"], report["relay"]) == (300, 1, 0)
        os.close(port)
        device.stdin.close()
        assert device.wait(5) == 0
    finally:
        device.kill()
        device.wait()


def test_samples_that_nobody_could_hear_are_not_counted_as_produced(controller):
    device = demo_device.DemoDevice(controller, rate_hz=1000)
    port = os.open(device.port, os.O_RDWR | os.O_NOCTTY)
    assert device.wait_for_agent(1.0, 0.0)
    while controller.report.produced < 10:
        device.turn()
    os.close(port)
    while controller.report.unheard < 10:
        device.turn()
    assert controller.report.produced < 40
    device.close()


def test_reader_that_stalls_gets_whole_lines_and_the_rest_is_counted(controller):
    device = demo_device.DemoDevice(controller, rate_hz=2000)
    port = os.open(device.port, os.O_RDWR | os.O_NOCTTY)
    os.set_blocking(port, False)
    assert device.wait_for_agent(1.0, 0.0)
    while controller.report.overrun < 10:
        device.turn()
    content = b""
    while device._fifo:
        content += os.read(port, 512)
        device.turn(sampling=False)
    while select.select([port], [], [], 0.2)[0]:
        content += os.read(port, 4096)
    seqs = [json.loads(line)["seq"] for line in content.splitlines()]
    assert seqs == list(range(1, controller.report.produced + 1))
    assert controller.report.overrun == 10
    os.close(port)
    device.close()
