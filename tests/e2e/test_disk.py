"""The whole agent on a disk that refuses: sensing and rules go on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import RunningAgent, site_text
from tests.store.accounting import account, assert_epochs_are_dense
from tests.store.test_body import small_volume

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 50
faults = [{ kind = "overheating", start = "1s" }]
thermal = "1s"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "200ms"
"""


def remount(volume: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(volume)], check=True)


@pytest.mark.slow
def test_start_on_a_read_only_volume_senses_and_decides_and_keeps_all_when_it_can(tmp_path: Path) -> None:
    """Durability row 4."""
    with small_volume(tmp_path / "data", size="8M") as volume:
        agent = RunningAgent(tmp_path, site_text(more=SITE))
        try:
            agent.start()
            agent.wait_for(lambda s: s["store"]["readings"], 30, "the first readings")
            assert agent.stop() == 0
            remount(volume, "ro")
            agent.start()
            seen = agent.wait_for(lambda s: s["alerts"], 30, "an alert without a disk")
            assert seen["store"]["failing"]
            remount(volume, "rw")
            agent.wait_for(lambda s: not s["store"]["failing"] and s["store"]["readings"], 20, "the store")
            assert agent.stop() == 0
        finally:
            agent.kill()
        assert_epochs_are_dense(account(volume / "store"))


@pytest.mark.slow
def test_rows_that_cannot_be_taken_over_are_trouble_in_status(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, site_text(more=SITE))
    try:
        agent.start()
        agent.wait_for(lambda s: s["store"]["readings"], 30, "the first readings")
        assert agent.stop() == 0
        folder = tmp_path / "data" / "store"
        identity = json.loads((folder / "store.id").read_bytes())
        (folder / "store.id").write_text(json.dumps({**identity, "jobs": [{"name": "store.db.corrupt-1"}]}))
        (folder / "store.db.corrupt-1").mkdir()
        agent.start()
        seen = agent.wait_for(lambda s: any("store.db.corrupt-1" in t for t in s["trouble"]), 30, "the trouble")
        assert any(t.startswith("store.salvage: the rows of ") for t in seen["trouble"])
        assert any("could not be taken over" in alert["text"] for alert in seen["alerts"])
    finally:
        agent.kill()
