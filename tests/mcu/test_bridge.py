"""`mcu watch` and `mcu set` on a device of the firmware bridge; its port is lent and taken back like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bridge.cable import Cable, Process
from tests.bridge.device import C_DIR, need, run
from tests.e2e.harness import RunningAgent
from tests.mcu.conftest import mcu

pytestmark = pytest.mark.slow

SITE = """
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
event_log_mb = 4

[[source]]
name = "board"
kind = "serial_bridge"
device = "{folder}/by-id-device"

[[actuator]]
name = "out"
kind = "bridge"
device = "{folder}/by-id-device"

[[source]]
name = "panel"
kind = "simulated"
rate_hz = 10
seed = 1

[[rule]]
id = "busy"
when = "panel.temp > WHEN"
for = "0s"
alert = false
actions = [{ set = "out.valve", value = 10 }]

[[mcu]]
name = "board"
source = "board"
"""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("gcc", "make")
    folder = tmp_path_factory.mktemp("posix")
    run("make", "-C", C_DIR, f"BUILD={folder}", "posix")
    return folder / "posix"


@pytest.fixture
def board(tmp_path: Path, firmware: Path):
    device = Process(firmware, "-r", "50")
    cable = Cable(tmp_path, device.fd)
    agents: list[RunningAgent] = []

    def start(when: str) -> RunningAgent:
        agents.append(RunningAgent(tmp_path, SITE.replace("WHEN", when)))
        agents[0].start()
        agents[0].wait_for(lambda s: s["sources"][0]["up"], 20, "the board is up")
        return agents[0]

    yield start
    for agent in agents:
        agent.kill()
    cable.close()
    device.close()


def test_watch_shows_live_values_and_set_reads_back(board) -> None:
    agent = board("1e6")
    done = mcu("watch", "--for", "1.5", "--json", "--site", agent.site)
    assert done.returncode == 0, done.stderr
    newest = [json.loads(line)["values"] for line in done.stdout.splitlines()]
    assert newest[0]["count"]["value"] < newest[-1]["count"]["value"]
    done = mcu("set", "valve", "42", "--site", agent.site, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["read_back"], told["off_record"]) == (0, True, 42, "")
    kept = [json.loads(line) for line in (agent.folder / "data/mcu/history.jsonl").read_text().splitlines()]
    assert [(k["do"], k["target"], k["value"], k["end"]) for k in kept] == [
        ("set", "valve", 42, "began"), ("set", "valve", 42, "done"),
    ]  # fmt: skip
    done = mcu("set", "valves", "42", "--site", agent.site)
    assert done.returncode == 1
    assert "has no such actuator; it has: " in done.stdout
    assert mcu("set", "valve", "open", "--site", agent.site).returncode == 2


def test_set_is_refused_while_a_raised_rule_commands_the_board(board) -> None:
    agent = board("-1e6")
    agent.wait_for(lambda s: s["rules"]["busy"] == "raised", 20, "the rule is raised")
    done = mcu("set", "valve", "42", "--site", agent.site)
    assert done.returncode == 1
    assert "board is an actuator of the rule busy, which is raised" in done.stderr


def test_lent_port_is_taken_back_and_samples_go_on_without_a_gap(board) -> None:
    """The board answers no SMP: the command gives up, the source goes on where it was."""
    agent = board("1e6")
    done = mcu("ping", "--count", "2", "--site", agent.site)
    assert done.returncode == 1
    status = agent.wait_for(lambda s: s["sources"][0]["up"], 20, "the board is back")
    assert status["sources"][0]["counts"]["downs"] >= 1
    assert not [n for n in status["sources"][0]["counts"] if n.startswith("lost")]


def test_watch_without_an_agent_has_a_session_of_its_own(board) -> None:
    agent = board("1e6")
    agent.stop()
    done = mcu("watch", "--for", "3", "--json", "--site", agent.site)
    assert done.returncode == 0, done.stderr
    assert "count" in json.loads(done.stdout.splitlines()[-1])["values"]
    done = mcu("set", "valve", "42", "--site", agent.site)
    assert (done.returncode, "no agent at" in done.stderr) == (3, True)
