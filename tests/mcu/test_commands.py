"""`edge-agent mcu` as a technician types it, without an agent: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.doubles.mcuboot import SLOT_BYTES
from tests.e2e.harness import wait_until
from tests.mcu.conftest import ROOT, Keys, argv, mcu
from tests.mcu.sites import site


@pytest.fixture
def press(plug, tmp_path: Path, keys: Keys):
    """(plugged, words that name the site)"""
    path = tmp_path / "site.toml"
    path.write_text(site(tmp_path, keys.public, "press", window="1s", health="answers"))
    return plug("press"), ("--site", path)


def test_list_names_the_devices_and_opens_no_port(press) -> None:
    done = mcu("list", *press[1], "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["mcus"]
    assert (found["name"], found["board"], found["there"], found["last"]) == ("press", "press-v2", True, None)
    assert press[0].cable.carried < 2000  # its own samples
    assert "press  press-v2, group press" in mcu("list", *press[1]).stdout


def test_ping_and_info_say_what_the_device_is(press) -> None:
    done = mcu("ping", *press[1], "--count", "3", "--json")
    assert (done.returncode, json.loads(done.stdout)["answered"]) == (0, 3)
    done = mcu("info", "press", *press[1], "--json")
    told = json.loads(done.stdout)
    (slot,) = told["slots"]
    assert (slot["slot"], slot["version"], slot["active"], slot["confirmed"]) == (0, "1.0.0", True, True)
    assert (told["bootloader"], told["slot_bytes"], told["buffer_bytes"]) == ("MCUboot", SLOT_BYTES, 1024)
    assert "slot 0  1.0.0  active, confirmed" in mcu("info", *press[1]).stdout


def test_flash_boots_on_trial_and_confirms_and_the_history_says_who_and_what(press, keys: Keys, tmp_path) -> None:
    done = mcu("flash", keys.image("1.1.0"), *press[1])
    assert done.returncode == 0, done.stderr
    assert "press: 1.0.0 -> 1.1.0, confirmed" in done.stdout
    assert "100 %" in done.stderr
    device = press[0].device
    assert (device.version, device.confirmed, device.boots) == ("1.1.0", True, 2)
    began, ended = map(json.loads, (tmp_path / "data/mcu/history.jsonl").read_text().splitlines())
    assert (began["end"], ended["end"], ended["was"], ended["version"]) == ("began", "confirmed", "1.0.0", "1.1.0")
    assert ended["by"].startswith("uid ")
    assert json.loads(mcu("list", *press[1], "--json").stdout)["mcus"][0]["last"]["end"] == "confirmed"


def test_update_gives_way_to_whatever_else_wants_the_processor(press, keys: Keys) -> None:
    words = argv("flash", keys.image("1.1.0", size=60_000, name="middle.bin"), *press[1])
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as update:
        wait_until(lambda: press[0].device.written > 1000, 30, "the upload runs")
        assert os.sched_getscheduler(update.pid) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, update.pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
        update.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "reason", "remedy"),
    [
        ("signature", "not signed with the key", "sign it with the right key"),
        ("board", "is for board pump-v1, and this device is press-v2", "--custom-tlv 0xA0 press-v2"),
        ("no_board", "names no board", "--custom-tlv 0xA0 press-v2"),
        ("older", "version 0.9.0 is not newer than 1.0.0", "higher version"),
        ("same", "version 1.0.0 is not newer than 1.0.0", "higher version"),
        ("truncated", "truncated", "copy it again"),
        ("damaged", "does not have its hash", "copy it again"),
        ("unsigned", "does not begin as an image", "imgtool sign"),
        ("large", "and the slot holds", "make it smaller"),
        ("missing", "No such file", ""),
    ],
)
def test_image_that_may_not_go_there_is_refused_before_a_byte_is_sent(
    case, reason, remedy, press, keys: Keys, tmp_path
):  # fmt: skip
    whole = keys.image("1.2.0").read_bytes()
    path, more = tmp_path / "bad.bin", ()
    if case in ("signature", "board", "no_board", "older", "same", "large"):
        given = {"signature": {"key": keys.stranger}, "board": {"board": "pump-v1"}, "no_board": {"board": ""}}
        version = {"older": "0.9.0", "same": "1.0.0"}.get(case, "1.2.0")
        path = keys.image(version, name=f"{case}.bin", **given.get(case, {}))
        more = ("--slot-size", "1KiB") if case == "large" else ()
    elif case == "truncated":
        path.write_bytes(whole[:-30])
    elif case == "damaged":
        path.write_bytes(whole[:2000] + b"?" + whole[2001:])
    elif case == "unsigned":
        path.write_bytes(b"\x00" * 4000)
    done = mcu("flash", path, *press[1], *more)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert reason in said
    assert remedy in said
    assert "Traceback" not in said
    device = press[0].device
    assert (device.written, device.starts, device.boots, device.pending) == (0, 0, 1, False)


@pytest.mark.slow
def test_no_update_begins_while_one_is_on_trial(press, keys: Keys) -> None:
    device = press[0].device
    device.slots[:] = [keys.image("1.1.0").read_bytes(), keys.first.read_bytes()]
    device.confirmed = False
    done = mcu("flash", keys.image("1.2.0"), *press[1])
    assert done.returncode == 1
    assert "version 1.1.0 is on trial" in done.stdout
    assert "edge-agent mcu confirm press, or edge-agent mcu rollback press" in done.stdout
    assert device.written == 0


@pytest.mark.slow
def test_confirm_keeps_what_is_on_trial_and_rollback_ends_it(press, keys: Keys) -> None:
    device = press[0].device
    for command, version in (("rollback", "1.0.0"), ("confirm", "1.1.0")):
        device.slots[:] = [keys.image("1.1.0").read_bytes(), keys.first.read_bytes()]
        device.confirmed = False
        done = mcu(command, *press[1], "--json")
        assert done.returncode == 0, done.stderr
        assert (device.version, device.confirmed) == (version, True)
        done = mcu(command, *press[1])
        assert done.returncode == 1
        assert f"nothing to {'confirm' if command == 'confirm' else 'roll back'}" in done.stderr


@pytest.mark.slow
def test_rollback_of_an_image_that_waits_for_its_first_boot(press, keys: Keys) -> None:
    device = press[0].device
    device.slots[1], device.pending = keys.image("1.1.0").read_bytes(), True
    assert mcu("rollback", *press[1]).returncode == 0
    assert (device.version, device.confirmed, device.pending) == ("1.0.0", True, False)


@pytest.mark.slow
def test_what_is_named_wrongly_is_said_in_a_line(press, tmp_path: Path, keys: Keys) -> None:
    for words, code, said in (
        (("info", "pres", *press[1]), 2, "it has: press"),
        (("info", "--port", tmp_path / "nothing"), 1, "check cable, path"),
        (("flash", keys.first, "--group", "pump", *press[1]), 2, "groups: press"),
        (("flash", keys.first, "--port", press[0].path), 2, "no key to check"),
        (("flash", keys.first, *press[1], "--window", "soon"), 2, "--window"),
        (("set", "valve", "1", *press[1]), 2, "not on the firmware bridge"),
        (("info", "--site", tmp_path / "none.toml"), 2, "none.toml"),
    ):
        done = mcu(*words)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr, words
        assert "Traceback" not in done.stderr
