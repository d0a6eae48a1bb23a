"""Updates beside a running agent: it lends the port, the other devices go on, status and backend hear of it."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from edge_agent.metrics import Histogram
from tests.e2e.harness import RunningAgent, wait_until
from tests.mcu.conftest import ROOT, Keys, argv, mcu
from tests.mcu.sites import site

pytestmark = pytest.mark.slow

RULE = """
[[actuator]]
name = "out"
kind = "serial"
device = "{folder}/press/by-id-device"

[[rule]]
id = "hot"
when = "lathe.temp > 15"
for = "0s"
alert = false
LATCH
actions = [{ set = "out.relay", value = 0 }]

[[rule]]
id = "warm"
when = "saw.temp > 25"
for = "0s"
alert = false
"""


@pytest.fixture
def gateway(tmp_path: Path, keys: Keys):
    """start(*names, more) -> RunningAgent that has heard each of them"""
    agents = []

    def start(*names: str, more: str = "", window: str = "6s") -> RunningAgent:
        agent = RunningAgent(tmp_path, site(tmp_path, keys.public, *names, window=window) + more)
        agents.append(agent)
        agent.start()
        agent.wait_for(lambda s: all(p["up"] for p in s["sources"]), 20, "all sources up")
        return agent

    yield start
    for agent in agents:
        agent.kill()


def of(status, kind: str, name: str):
    return next(p for p in status[kind] if p["name"] == name)


def firmware_alerts(folder: Path) -> list[tuple[str, str]]:
    """What the backend gets, from the database as it is committed: (state, text), in order."""
    from edge_agent.store.reader import view_store

    view = view_store(folder / "data/store", recent=50)
    return [(a.state, a.text) for a in reversed(view.alerts) if a.dedupe_key == "health/press.firmware"]


def test_update_pauses_its_own_source_only_and_status_and_backend_hear_of_it(plug, keys, gateway, tmp_path) -> None:
    press, saw = plug("press", noise=2e-4), plug("saw")
    agent = gateway("press", "saw")
    image = keys.image("1.1.0", size=60_000, name="middle.bin")
    done = subprocess.Popen(argv("flash", image, "press", "--site", agent.site, "--json"), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
    seen = agent.wait_for(lambda s: 0 < of(s, "mcus", "press")["offset"] < 60_000, 30, "progress")
    told = of(seen, "mcus", "press")
    assert (told["stage"], told["version"], told["by"]) == ("upload", "1.1.0", f"uid {os.getuid()}")
    assert told["size"] == len(image.read_bytes())
    assert any(a["dedupe_key"] == "health/press.firmware" and "1.1.0 by uid" in a["text"] for a in seen["alerts"])
    down = agent.wait_for(lambda s: not of(s, "sources", "press")["up"], 20, "its source paused")
    assert "lent to edge-agent mcu" in of(down, "sources", "press")["reason"]
    before = of(down, "sources", "saw")["counts"]["items"]
    agent.wait_for(lambda s: of(s, "sources", "saw")["counts"]["items"] > before + 20, 20, "the other one goes on")
    agent.wait_for(lambda s: of(s, "mcus", "press")["stage"] == "watch", 90, "health window")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, out + err
    assert (press.device.version, press.device.confirmed) == ("1.1.0", True)
    assert saw.device.boots == 1
    after = agent.wait_for(lambda s: of(s, "sources", "press")["up"], 20, "its source is back")
    assert (of(after, "mcus", "press")["stage"], of(after, "mcus", "press")["end"]) == ("", "confirmed")
    assert of(after, "sources", "saw")["counts"].get("downs", 0) == 0
    states = wait_until(lambda: (a := firmware_alerts(tmp_path)) and a[-1][0] == "cleared" and a, 10, "alert cleared")
    assert [state for state, _ in states] == ["raised", "cleared"]


def test_device_that_a_raised_rule_commands_is_refused(plug, keys, gateway, tmp_path) -> None:
    press, _ = plug("press"), plug("lathe")
    rule = RULE.partition("\n[[rule]]\nid = \"warm\"")[0].replace("{folder}", str(tmp_path)).replace("LATCH", "")
    agent = gateway("press", "lathe", more=rule)
    agent.wait_for(lambda s: s["rules"]["hot"] == "raised", 20, "the rule is raised")
    done = mcu("flash", keys.image("1.1.0"), "press", "--site", agent.site)
    assert done.returncode == 1
    assert "press is an actuator of the rule hot, which is raised" in done.stdout
    assert (press.device.written, press.device.boots) == (0, 1)


@pytest.mark.long
def test_command_that_is_killed_loses_the_port_and_the_next_goes_on_where_it_was(plug, keys, gateway) -> None:
    press = plug("press", noise=5e-4)
    agent = gateway("press", window="6s")
    image = keys.image("1.1.0", size=60_000, name="middle.bin")
    words = argv("flash", image, "--site", agent.site, "--json")
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    wait_until(lambda: press.device.written > 20_000, 60, "a third of it")
    first.send_signal(signal.SIGKILL)
    first.wait()
    busy = mcu("info", "--site", agent.site)
    assert (busy.returncode, "is at it: upload" in busy.stderr) == (1, True)
    agent.wait_for(lambda s: of(s, "sources", "press")["up"], 40, "the port is the source's again")
    assert "fell silent in upload" in of(agent.status(), "mcus", "press")["reason"]
    second = mcu(*words[4:])
    assert second.returncode == 0, second.stderr
    assert "goes on at" in second.stderr
    assert (press.device.starts, press.device.version) == (1, "1.1.0")


def test_one_then_rest_stops_at_the_first_that_fails(plug, keys, gateway) -> None:
    plugged = [plug("press"), plug("saw", mute=("1.1.0",)), plug("lathe")]
    agent = gateway("press", "saw", "lathe")
    done = mcu("flash", keys.image("1.1.0"), "--group", "press", "--site", agent.site, "--json")
    assert done.returncode == 1
    ends = [m["end"] for m in json.loads(done.stdout)["mcus"]]
    assert ends == ["confirmed", "reverted", "not_begun"]
    assert [p.device.version for p in plugged] == ["1.1.0", "1.0.0", "1.0.0"]
    assert plugged[2].device.written == 0
    status = agent.status()
    assert [m["end"] for m in status["mcus"]] == ["confirmed", "reverted", ""]
    told = [a["text"] for a in status["alerts"] if a["dedupe_key"].endswith(".firmware")]
    assert len(told) == 1
    assert "saw.firmware: update to 1.1.0 ended: reverted: source saw" in told[0]


def test_rules_are_as_quick_during_an_update_as_before_it(plug, keys, gateway) -> None:
    """Medians of block p99s. The other phase has the same upload beside the agent, to a device that is none of its:
    what is left is what the update costs the agent, and not what an emulated device costs a small machine."""
    press, _, other = plug("press", noise=5e-4), plug("saw", rate_hz=200.0), plug("other", noise=5e-4)
    more = '\n[[rule]]\nid = "warm"\nwhen = "saw.temp > 25"\nfor = "0s"\nalert = false\nlatch = true\n'
    agent = gateway("press", "saw", more=more, window="6s")
    quiet = blocks(agent, 3)
    beside, through = [], []
    for number in range(int(os.environ.get("EDGE_AGENT_ROUNDS", "1"))):
        image = keys.image(f"1.{1 + number}.0", size=200_000, name="large.bin")
        beside += during_upload(agent, other, "flash", image, "--port", other.path, "--key", keys.public)
        through += during_upload(agent, press, "flash", image, "press", "--site", agent.site)
        agent.wait_for(lambda s: of(s, "sources", "press")["up"], 30, "the port is taken back")
    quiet_ms, beside_ms, through_ms = map(statistics.median, (quiet, beside, through))
    print(f"rule p99: quiet {quiet_ms:.2f} ms, upload beside {beside_ms:.2f} ms, update {through_ms:.2f} ms")
    assert through_ms < max(2 * beside_ms, beside_ms + 5)


def during_upload(agent: RunningAgent, plugged, *words: str | Path) -> list[float]:
    done = subprocess.Popen(argv(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    begun = plugged.device.written
    wait_until(lambda: plugged.device.written > begun + 1000, 30, "the upload runs")
    found = blocks(agent, 4)
    assert plugged.device.written < begun + 200_000
    done.kill()
    done.wait()
    return found


def blocks(agent: RunningAgent, count: int) -> list[float]:
    """p99 of reading to action, in ms, of one second each."""
    out, last = [], agent.ask("latency")["counts"]
    for _ in range(count):
        time.sleep(1.0)
        now = agent.ask("latency")["counts"]
        block = Histogram.of([b - a for a, b in zip(last, now, strict=True)])
        out.append(block.quantile_ms(0.99))
        last = now
    return out
