"""The real agent under libfaketime, into a real mosquitto: 1970, now, an hour back, a year forward, and now again."""

from __future__ import annotations

import os
import time

import pytest

from tests.clocks.scene import HOUR_S, YEAR_S, Subscriber
from tests.doubles.faked_wall import FakedWall
from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import RunningAgent, site_text, wait_until

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 20

[[signal]]
name = "motor.load_1s"
of = "motor.load"
fn = "mean"
window = "1s"

[[rule]]
id = "busy"
when = "motor.load_1s > 0.0"
for = "100ms"
"""


@pytest.mark.slow
def test_row_7_and_8_a_box_that_boots_in_1970_tells_the_right_times_in_the_end(tmp_path, monkeypatch):
    wall = FakedWall(tmp_path, 5.0 - time.time())
    for name, value in wall.environment.items():
        monkeypatch.setenv(name, value)
    site = site_text(broker=(broker := Mosquitto(tmp_path, "max_queued_messages 0", verbose=False)).port, more=SITE)
    site = site.replace('gateway = "gw1"', 'gateway = "gw1"\nclock = "rtc"')
    agent = RunningAgent(tmp_path, site)
    with broker:
        backend = Subscriber(broker.port)
        backend.start()
        agent.start()
        for name in wall.environment:
            monkeypatch.delenv(name)
        lead_ms = time.time() * 1e3 - time.monotonic() * 1e3
        try:
            agent.wait_for(lambda s: s["store"]["readings"] > 40 and s["clock"] == "guessed", 30, "life in 1970")
            wall.set(0)
            agent.wait_for(lambda s: s["clock"] == "synced", 30, "the right time")
            for ahead_s in (-HOUR_S, YEAR_S):
                wall.set(ahead_s)
                seen = agent.status()["store"]["readings"]
                told = agent.wait_for(lambda s, n=seen: s["store"]["readings"] > n + 30, 30, "readings go on")
                assert told["clock"] == "guessed"
                assert any("the wall clock was set" in trouble for trouble in told["trouble"])
            wall.set(0)
            last = agent.wait_for(lambda s: s["clock"] == "synced" and not s["trouble"], 30, "the right time again")
            assert last["time"]["steps"] == 4
            assert last["rules"]["busy"] == "raised", "its window and its timer went on"
            readings = last["store"]["readings"]
            wait_until(lambda: backend.received("motor") > readings, 30, "all at the subscriber")
        finally:
            os.kill(agent.pid, 15)
            agent.wait(20)
        times = backend.times_ms()
        backend.stop()
    wrong = {key: t - m - lead_ms for key, (t, m, _) in times.items() if t is None or abs(t - m - lead_ms) > 100}
    assert wrong == {}
    assert {told[2] for told in backend.told.values()} == {"guessed", "synced"}
    assert len(backend.fixes) == 1
    verdict = backend.verdict()
    assert (verdict.lost, verdict.conflicts, verdict.refused) == (0, 0, 0)
