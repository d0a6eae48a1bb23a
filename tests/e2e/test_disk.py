"""The whole agent on a disk that refuses: sensing and rules go on."""

from __future__ import annotations

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
