"""An update against MCUboot's swap semantics: test, confirm, revert without confirm, revert after a crash loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.harness import wait_until
from tests.mcu.conftest import ROOT, Keys, argv, mcu

pytestmark = pytest.mark.slow


def direct(plugged, keys: Keys, *more: str) -> tuple[object, ...]:
    return ("--port", plugged.path, "--key", keys.public, "--board", "press-v2", *more)


def end_of(done: subprocess.CompletedProcess[str]) -> str:
    return json.loads(done.stdout)["mcus"][0]["end"]


def test_image_that_does_not_pass_its_health_window_goes_back(plug, keys: Keys) -> None:
    press = plug("press", deaf=("1.1.0",))
    done = subprocess.Popen(
        argv("flash", keys.image("1.1.0"), *direct(press, keys, "--window", "1s", "--json")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    wait_until(lambda: press.device.version == "1.1.0", 30, "the boot on trial")
    assert not press.device.confirmed
    done.send_signal(signal.SIGINT)
    done.wait(30)
    # nobody confirmed it: the next reset, a power cycle, brings the version of before back
    press.device._boot()
    assert (press.device.version, press.device.confirmed) == ("1.0.0", True)


def test_image_that_crashes_is_gone_by_itself(plug, keys: Keys) -> None:
    press = plug("press", crashes=("1.1.0",))
    done = mcu("flash", keys.image("1.1.0"), *direct(press, keys, "--window", "1s", "--json"))
    assert (done.returncode, end_of(done)) == (1, "crashed")
    assert (press.device.version, press.device.confirmed, press.device.boots) == ("1.0.0", True, 3)


def test_image_that_the_boot_loader_does_not_trust_is_not_booted(plug, keys: Keys) -> None:
    """The technician's key is the wrong one; MCUboot verifies for itself."""
    press = plug("press")
    foreign = keys.image("1.1.0", key=keys.stranger, name="foreign.bin")
    words = ("--port", press.path, "--key", keys.strangers_public, "--board", "press-v2", "--json")
    done = mcu("flash", foreign, *words)
    assert (done.returncode, end_of(done)) == (1, "not_booted")
    assert (press.device.version, press.device.confirmed) == ("1.0.0", True)


def test_samples_that_do_not_flow_revert_the_update(plug, keys: Keys, tmp_path: Path) -> None:
    from tests.mcu.sites import site

    path = tmp_path / "site.toml"
    path.write_text(site(tmp_path, keys.public, "press", window="1s", health="samples"))
    press = plug("press", mute=("1.1.0",))
    done = mcu("flash", keys.image("1.1.0"), "--site", path, "--json")
    assert (done.returncode, end_of(done)) == (1, "reverted")
    assert "no line of samples came" in json.loads(done.stdout)["mcus"][0]["reason"]
    assert (press.device.version, press.device.confirmed) == ("1.0.0", True)


def test_last_answer_that_is_lost_begins_no_second_upload(plug, keys: Keys) -> None:
    press = plug("press")
    device, chunk = press.device, press.device._chunk

    def swallow(body):
        answer = chunk(body)
        return None if "match" in answer else answer

    device._chunk = swallow
    done = mcu("flash", keys.image("1.1.0", size=8000), *direct(press, keys, "--window", "1s", "--json"))
    assert (done.returncode, device.starts) == (0, 1), done.stderr
    assert device.written == len(keys.image("1.1.0", size=8000).read_bytes())


def test_200_kb_over_a_noisy_line_with_three_pulls_and_a_kill_arrive_without_starting_over(plug, keys: Keys) -> None:
    image = keys.image("1.1.0", size=200_000, name="large.bin")
    press = plug("press", noise=5e-4)
    words = argv("flash", image, *direct(press, keys, "--window", "1s", "--json"))
    done = threading.Event()
    pulls = threading.Thread(target=pull, args=(press, (30_000, 70_000, 150_000), done))
    pulls.start()
    first = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    wait_until(lambda: press.device.written > 110_000, 120, "half of it")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT)
    done.set()
    pulls.join()
    device = press.device
    assert second.returncode == 0, second.stderr
    assert "goes on at 1" in second.stderr
    assert device.slots[0] == image.read_bytes()
    assert (device.version, device.confirmed) == ("1.1.0", True)
    assert (device.starts, device.written, pulls.pulled) == (1, len(image.read_bytes()), 3)


def pull(press, places: tuple[int, ...], done: threading.Event) -> None:
    threading.current_thread().pulled = 0
    for place in places:
        while press.device.written < place and not done.is_set():
            done.wait(0.01)
        press.cable.unplug()
        done.wait(0.3)
        press.cable.plug()
        threading.current_thread().pulled += 1
