"""SIGKILL at random moments under load: what was committed is delivered, and no number is used twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from demo_backend import DemoBackend

from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import RunningAgent, site_text, wait_until

LOAD = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 400
max_rate = 5000

[[source]]
name = "pump"
kind = "simulated"
rate_hz = 100
seed = 3

[[signal]]
name = "motor.temp_1s"
of = "motor.temp"
fn = "mean"
window = "1s"

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[rule]]
id = "shaky"
when = "motor.vibration > pump.vibration"
for = "0s"
actions = [{ set = "press.relay", value = 0, else_value = 1 }]
"""


def campaign(folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    reported: dict[str, int] = {}
    with Mosquitto(folder, "max_queued_messages 0") as broker:
        backend = DemoBackend(broker.port)
        backend.start()
        agent = RunningAgent(folder, site_text(broker=broker.port, more=LOAD))
        try:
            for _ in range(kills):
                agent.start()
                status = agent.status()
                time.sleep(rng.expovariate(1 / 0.4))  # the random moment is what this is about
                status = agent.ask("status") or status
                agent.kill()
                assert status["epoch"] not in reported
                reported[status["epoch"]] = status["store"]["readings"]
            agent.start()
            committing = lambda s: s["store"]["commits"] > 2 and s["uplink"]["connected"]  # noqa: E731
            last = agent.wait_for(committing, 30, "a last start")
            assert last["start_no"] == kills + 1
            assert agent.stop() == 0
            # the tail of the last epoch is closed by one more start
            agent.start()
            wait_until(lambda: last["epoch"] in backend.closed_epochs(), 30, "close/1 of the last epoch")
            wait_until(lambda: backend.verdict().lost == 0, 30, f"every hole filled: {backend.verdict().holes}")
            verdict = backend.verdict()
        finally:
            agent.kill()
            backend.stop()
    assert verdict.conflicts == 0, "a number was used twice"
    assert verdict.refused == 0
    for epoch, committed in reported.items():
        assert backend.received_in(epoch) >= committed, f"{epoch}: {committed} were committed"
    assert sum(reported.values()) > 100 * kills / 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_committed_is_lost_and_no_number_used_twice_over_50_kills(tmp_path: Path) -> None:
    campaign(tmp_path, 50, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_nothing_committed_is_lost_and_no_number_used_twice_over_1000_kills(tmp_path: Path, seed: int) -> None:
    """In ten parts of a hundred, so that a part that fails can be repeated alone."""
    campaign(tmp_path, 100, seed=seed)
