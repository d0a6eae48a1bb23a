"""Row 25: after five starts that end badly the real agent leaves its models out, decides on, and says so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from demo_backend import DemoBackend

from edge_agent.contract.messages import Alerted
from tests.cli.command import edge_agent
from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import RunningAgent, site_text, wait_until
from tests.e2e.test_bad_models import children
from tests.inference import onnx_bytes
from tests.inference.packages import plain_package

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 50

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[model]]
name = "bearing"
package = "bearing"
input = ["motor.temp"]

[[rule]]
id = "shaky"
when = "motor.vibration > 0.0 || bearing.a > 1000.0"
for = "0s"
alert = false
actions = [{ set = "press.relay", value = 0, else_value = 1 }]
"""
LIMIT_S = 60.0
RESTART_S = 2.0
"""As the service unit has it."""


BROKEN = """
[[source]]
name = "meter"
kind = "modbus"
host = "127.0.0.1"
[[source.poll]]
slave = 1
registers = { power = { address = 0, type = "u16" } }
"""


def told(status: dict[str, Any]) -> bool:
    return any("safe_mode: 5 starts in a row ended badly" in reason for reason in status["trouble"])


def bearing(status: dict[str, Any]) -> dict[str, Any]:
    lane: dict[str, Any] = status["lanes"][0]
    return lane


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_row_25_five_crashes_lead_to_a_safe_mode_within_a_minute_and_a_restart_out_of_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    plain_package(tmp_path / "bearing", onnx_bytes.identity())
    alerts: list[str] = []
    with Mosquitto(tmp_path) as broker:
        backend = DemoBackend(broker.port, on_row=lambda r: alerts.append(r.text) if isinstance(r, Alerted) else None)
        backend.start()
        agent = RunningAgent(tmp_path, site_text(broker=broker.port, more=SITE))
        began, idle_s = time.monotonic(), 0.0
        try:
            for _ in range(5):
                agent.start()
                assert not agent.status()["safe_mode"]
                agent.kill()
                idle_s += RESTART_S
            agent.start()
            safe = agent.wait_for(lambda s: told(s) and s["rung"] == "rules-only", 30, "the safe mode")
            assert time.monotonic() - began + idle_s < LIMIT_S
            assert safe["safe_mode"]
            assert bearing(safe)["trust"] == "unavailable"
            assert any(a["text"] == "model bearing is unavailable: safe mode" for a in safe["alerts"])
            assert "notes" not in bearing(safe) or "pid" not in bearing(safe)["notes"]
            assert children(agent.pid) == []
            readings, acted = safe["store"]["readings"], (tmp_path / "actions.jsonl").stat().st_size
            on = agent.wait_for(lambda s: s["store"]["readings"] > readings + 50, 30, "readings go on")
            assert on["rules"]["shaky"] in ("normal", "raised")
            assert acted > 0
            wait_until(lambda: any(a.startswith("safe_mode: ") for a in alerts), 30, "the alert at the backend")
            first = edge_agent("status", agent.site).out.splitlines()
            assert "SAFE MODE" in first[0]
            assert edge_agent("store", "check", agent.site).code == 0
            assert "safe mode: 5 starts in a row ended badly" in agent.tail()
            assert agent.stop() == 0
            agent.start()
            full = agent.wait_for(lambda s: bearing(s)["trust"] == "trusted", 30, "the model after a clean restart")
            assert not full["safe_mode"]
            assert not full["alerts"]
            assert not full["trouble"]
        finally:
            agent.kill()
            backend.stop()


@pytest.mark.slow
def test_row_25_a_driver_whose_library_raises_at_its_import_is_parked_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "broken" / "pymodbus"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text('raise RuntimeError("built for another processor")\n')
    monkeypatch.setenv("PYTHONPATH", str(library.parent))
    plain_package(tmp_path / "bearing", onnx_bytes.identity())
    with RunningAgent(tmp_path, site_text(more=SITE + BROKEN)) as agent:
        status = agent.wait_for(lambda s: s["parked"], 30, "the driver is parked")
        assert status["parked"] == ["source:meter"]
        assert any("built for another processor" in reason for reason in status["trouble"])
        agent.wait_for(lambda s: s["store"]["readings"] > status["store"]["readings"] + 50, 30, "the others go on")
        assert not agent.status()["safe_mode"]
        assert agent.stop() == 0
