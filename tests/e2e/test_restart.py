"""A latched rule stays latched, a held one held and an acknowledged alert acknowledged, also over kill -9."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import RunningAgent, site_text

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 20
faults = [{ kind = "overheating", start = "1s" }]
thermal = "1s"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "200ms"
latch = true
"""


@pytest.mark.slow
def test_raised_rule_its_acknowledgement_and_its_hold_survive_a_kill(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, site_text(more=SITE))
    try:
        agent.start()
        alert = agent.wait_for(lambda s: s["alerts"], 30, "the alert")["alerts"][0]
        assert agent.ask("ack", alert=alert["alert_id"])
        agent.wait_for(lambda s: s["alerts"][0]["acked_by"], 10, "the acknowledgement")
        agent.ask("hold", rule="hot", for_s=600, why="cleaning")
        agent.wait_for(lambda s: s["holds"], 10, "the hold")
        commits = agent.status()["store"]["commits"]
        agent.wait_for(lambda s: s["store"]["commits"] > commits + 1, 10, "its commit")
        agent.kill()
        agent.start()
        again = agent.status()
        assert [(a["alert_id"], bool(a["acked_by"])) for a in again["alerts"]] == [(alert["alert_id"], True)]
        assert again["rules"]["hot"] in ("raised", "latched")
        assert again["holds"]["hot"]["why"] == "cleaning"
    finally:
        agent.kill()
