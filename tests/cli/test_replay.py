"""What was recorded is decided again, byte for byte; another rule shows; a log that was touched is refused."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from e2e.harness import RunningAgent

from cli.command import argv, edge_agent, environment, in_process

SITE = """
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
event_log_mb = 4

[[source]]
name = "motor"
kind = "simulated"
rate_hz = 200
seed = 7
thermal = "500ms"
stale_after = "300ms"
faults = [
  { kind = "overheating", start = "300ms", duration = "1200ms" },
  { kind = "bearing_wear", start = "500ms", duration = "1s", severity = 0.9 },
  { kind = "dropout", start = "2s", duration = "800ms" },
]

[[source]]
name = "gone"
kind = "serial_lines"
device = "/dev/serial/by-id/not-here"

[[signal]]
name = "motor.temp_mean"
of = "motor.temp"
fn = "mean"
window = "200ms"

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[rule]]
id = "hot"
when = "motor.temp_mean > 55"
for = "50ms"
clear = "motor.temp_mean < 54"
actions = [{ set = "press.relay", value = 0, else_value = 1 }]

[[rule]]
id = "worn"
when = "motor.vibration > 1.5"
latch = true

[[rule]]
id = "silent"
when = 'absent(motor.temp, "200ms")'
severity = "critical"
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of some seconds: readings, gaps in them, faults, actions, and a person's hold."""
    folder = tmp_path_factory.mktemp("recorded")
    with RunningAgent(folder, SITE, "--record", str(folder / "log")) as agent:
        agent.wait_for(lambda s: s["rules"]["hot"] == "raised", 30, "hot is raised")
        assert agent.ask("hold", rule="hot", for_s=0.5, why="a test")
        agent.wait_for(lambda s: s["rules"]["silent"] == "raised", 30, "the motor fell silent")
        agent.wait_for(lambda s: s["rules"]["silent"] == "normal", 30, "the motor is heard again")
        agent.wait_for(lambda s: s["rules"]["hot"] == "normal", 30, "hot is cleared")
        assert agent.stop() == 0
    return folder


def replay(folder: Path, *options: str) -> tuple[int, str, str]:
    done = edge_agent("replay", folder / "log", "--site", folder / "site.toml", *options)
    return done.code, done.out, done.err


@pytest.fixture
def copy(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "copy", ignore=shutil.ignore_patterns("run", "data"))


def test_replay_decides_byte_for_byte_as_recorded(recorded: Path) -> None:
    code, out, _ = replay(recorded, "--verify")
    was = (recorded / "log.decisions").read_bytes()
    assert (code, out) == (0, f"OK   {len(was.splitlines())} decisions and alerts, byte for byte as recorded\n")
    outcomes = {(d["rule"], d["outcome"]) for d in map(json.loads, was.splitlines()) if d["type"] == "decision"}
    assert {
        ("hot", "raised"), ("hot", "cleared"), ("hot", "held"), ("hot", "released"), ("hot", "acted"),
        ("worn", "raised"), ("silent", "raised"), ("silent", "cleared"), ("hot", "unknown"), ("hot", "known"),
    } <= outcomes  # fmt: skip
    assert replay(recorded)[1].encode() == was


def test_changed_rule_is_another_site_file_and_with_force_the_first_difference(copy: Path) -> None:
    site = copy / "site.toml"
    site.write_text(site.read_text().replace('id = "worn"', 'id = "worn"\nseverity = "critical"'))
    code, out, err = replay(copy, "--verify")
    assert (code, out) == (2, "")
    assert "recorded with another site file; give the file it was recorded with, or --force" in err
    code, out, _ = replay(copy, "--verify", "--force")
    assert code == 1
    first = out.splitlines()
    assert first[0].startswith("FAIL the first ")
    assert '"rule":"worn"' in first[1]
    assert '"rule":"worn"' in first[2]
    code, out, _ = replay(copy, "--verify", "--force", "--json")
    told = json.loads(out)
    assert (code, told["ok"]) == (1, False)
    assert json.loads(told["first_difference"]["recorded"])["rule"] == "worn"


def test_rule_that_decides_as_before_is_no_difference_by_force(copy: Path) -> None:
    site = copy / "site.toml"
    site.write_text(site.read_text().replace("motor.vibration > 1.5", "motor.vibration > 3.0 / 2.0"))
    assert replay(copy, "--verify")[0] == 2
    count = len((copy / "log.decisions").read_bytes().splitlines())
    said = f"OK   {count} decisions and alerts, as recorded, but for the hashes of rules\n"
    assert replay(copy, "--verify", "--force")[:2] == (0, said)


def test_comment_in_the_site_file_changes_nothing(copy: Path) -> None:
    site = copy / "site.toml"
    site.write_text("# moved to another cupboard\n" + site.read_text())
    assert replay(copy, "--verify")[0] == 0


def frames(log: bytes) -> list[bytes]:
    """Each document with its length and CRC in front, the header first, the end last."""
    out, at = [], 0
    while at < len(log):
        length = 8 + struct.unpack_from(">I", log, at)[0]
        out.append(log[at : at + length])
        at += length
    return out


def test_log_that_was_touched_is_refused(copy: Path) -> None:
    log = copy / "log"
    content = log.read_bytes()
    head, *events, end = frames(content)
    middle = len(events) // 2
    temp = content.index(b"temp", len(content) // 2) + 6
    forged = {
        "a temperature changed": content[:temp] + bytes([content[temp] ^ 1]) + content[temp + 1 :],
        "an event left out": head + b"".join(events[:middle] + events[middle + 1 :]) + end,
        "the last events left out": head + b"".join(events[:-100]) + end,
        "the end left out": content[: -len(end)],
    }
    for how, touched in forged.items():
        log.write_bytes(touched)
        done = in_process("replay", log, "--site", copy / "site.toml", "--verify")
        code, out, err = done.code, done.out, done.err
        assert (code, out) == (1, ""), how
        assert "changed or damaged at byte" in err or "cut off at byte" in err, how


@pytest.mark.parametrize("share", [1.0, 0.05], ids=["while it is written", "at the end"])
def test_reader_that_goes_away_is_no_error(copy: Path, share: float) -> None:
    content = (copy / "log").read_bytes()
    (copy / "log").write_bytes(content[: int(share * len(content))])
    read, write = os.pipe()
    os.close(read)
    call = argv("replay", copy / "log", "--site", copy / "site.toml")
    done = subprocess.run(call, stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_record_of_a_killed_agent_is_compared_as_far_as_it_goes_by_force(copy: Path) -> None:
    log = copy / "log"
    log.write_bytes(log.read_bytes()[:-100])
    assert replay(copy, "--verify", "--force")[0] in (0, 1)
    code, out, _ = replay(copy)
    assert code == 0
    assert out.encode() in (copy / "log.decisions").read_bytes()


def test_decision_that_was_touched_is_the_difference(copy: Path) -> None:
    decisions = copy / "log.decisions"
    decisions.write_bytes(decisions.read_bytes().replace(b'"outcome":"raised"', b'"outcome":"cleared"', 1))
    code, out, _ = replay(copy, "--verify")
    assert code == 1
    assert '"outcome":"cleared"' in out.splitlines()[1]
    assert '"outcome":"raised"' in out.splitlines()[2]


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "cut off at byte 0"), (b"hello, world", "changed or"), (b"\0" * 64, "changed or")]
)
def test_file_that_is_no_log_is_refused(copy: Path, content: bytes, told: str) -> None:
    (copy / "log").write_bytes(content)
    code, out, err = replay(copy, "--verify")
    assert (code, out) == (1, "")
    assert told in err
    assert "Traceback" not in err


def test_log_without_its_decisions_cannot_be_verified(copy: Path) -> None:
    (copy / "log.decisions").unlink()
    code, _, err = replay(copy, "--verify")
    assert code == 2
    assert "log.decisions is not there; record with run --record" in err
