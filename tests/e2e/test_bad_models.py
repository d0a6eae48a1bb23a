"""Models that crash, are refused, never end or give NaN: the agent stays up, rules stay quick, status says why."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edge_agent.metrics import Histogram
from tests.e2e.harness import RunningAgent, site_text
from tests.inference import onnx_bytes
from tests.inference.lane_rig import wait_gone
from tests.inference.packages import MODELS, VWW_INPUT, VWW_OUTPUT, plain_package, write_package
from tests.inference.test_real_models import SCRAMBLED

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 200

[[source]]
name = "wide"
kind = "simulated"
rate_hz = 20
seed = 5

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[rule]]
id = "busy"
when = "motor.vibration > wide.vibration || (endless.a > 0.0 && nan.a > 0.0)"
alert = false
for = "0s"
actions = [{ set = "press.relay", value = 0, else_value = 1 }]

[[rule]]
id = "by-model"
when = "nan.a > 10.0"
otherwise = "motor.temp > 500"
"""
WINDOW = """
[[model]]
name = "{name}"
package = "{name}"
input = ["motor.temp"]
"""
CAMERA = """
[[source]]
name = "eye"
kind = "camera"
file = "{video}"
loop = true

[[model]]
name = "person"
package = "person"
input = "eye"
"""
DEADLINE_MS = 300
CAUSES = {
    "crash": "kills its process with SIG",
    "person": "quantized_dimension must be in range",
    "endless": "no answer within",
    "nan": "NaN or infinite",
}

pytestmark = pytest.mark.skipif(not MODELS.exists(), reason="the shared models are not there")


def bad_site(folder: Path) -> str:
    write_package(folder / "crash", MODELS / "keyword_scrambled_8bit_CRASHES.tflite", SCRAMBLED, policy="every")
    gray = VWW_INPUT.replace('color = "rgb"', 'color = "gray"').replace("[1, 96, 96, 3]", "[1, 96, 96, 1]")
    write_package(folder / "person", MODELS / "person_detect_tflm_REJECTED.tflite", gray + VWW_OUTPUT)
    plain_package(folder / "endless", onnx_bytes.endless(), deadline_ms=DEADLINE_MS)
    plain_package(folder / "nan", onnx_bytes.not_a_number())
    windows = "".join(WINDOW.replace("{name}", name) for name in ("crash", "endless", "nan"))
    video = MODELS.parent / "video" / "bikes.mp4"
    return site_text(more=SITE + windows + CAMERA.replace("{video}", str(video)))


def lane(status: dict[str, Any], name: str) -> dict[str, Any]:
    lanes = status["lanes"]
    assert isinstance(lanes, list)
    return next(x for x in lanes if x["name"] == name)


def known(status: dict[str, Any], name: str) -> bool:
    x = lane(status, name)
    notes = x.get("notes", {})
    assert isinstance(notes, dict)
    said = any(alert["dedupe_key"] == f"model/{name}" for alert in status["alerts"])
    return said and x["trust"] != "trusted" and CAUSES[name] in str(notes.get("last_error", ""))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_bad_models_are_named_while_rules_go_on_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, bad_site(tmp_path)) as agent:
        agent.status()
        before = agent.ask("latency")["counts"]
        status = agent.wait_for(lambda s: all(known(s, name) for name in CAUSES), 90, "every cause and alert")
        handled = status["engine"]["handled"]
        time.sleep(3)  # what is measured is a span of time
        status = agent.status()
        after = agent.ask("latency")["counts"]
        pids = children(agent.pid)
        assert agent.stop() == 0
    latency = Histogram.of([b - a for a, b in zip(before, after, strict=True)])
    assert status["engine"]["handled"] - handled > 400
    assert latency.count > 1000
    # a rule that waited for a model would show its deadline; `scripts/bench latency` measures the promise itself
    assert latency.quantile_ms(0.99) < DEADLINE_MS / 2
    assert status["rung"] == "rules-only"
    assert status["rules"]["busy"] in ("normal", "raised")
    assert (tmp_path / "actions.jsonl").stat().st_size > 0
    for pid in pids:
        wait_gone(pid)
    print(f"rule p99 {latency.quantile_ms(0.99):.2f} ms over {latency.count} readings")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_agent_that_is_killed_takes_its_workers_and_captures_along(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, bad_site(tmp_path)) as agent:
        agent.wait_for(lambda s: known(s, "nan") and s["sources"][2]["up"], 60, "workers and capture at work")
        pids = children(agent.pid)
        assert len(pids) >= 2
        agent.kill()
    for pid in pids:
        wait_gone(pid)


def children(pid: int) -> list[int]:
    paths = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in paths for child in path.read_text().split()]


REPLAY = """
[[source]]
name = "motor"
kind = "replay"
path = "{folder}/temps.csv"
time = "t"
speed = "max"
[source.fields]
temp = {}
"""


@pytest.mark.parametrize("arguments", [(), ("--end-with-input",)])
def test_stop_ends_a_replay_whose_model_hangs_while_it_loads(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    plain_package(tmp_path / "endless", onnx_bytes.endless(), deadline_ms=60_000)
    rows = "".join(f"2024-01-01T{k // 3600:02}:{k // 60 % 60:02}:{k % 60:02}Z,{k % 90}\n" for k in range(20_000))
    (tmp_path / "temps.csv").write_text("t,temp\n" + rows)
    with RunningAgent(tmp_path, site_text(more=REPLAY + WINDOW.replace("{name}", "endless")), *arguments) as agent:
        agent.wait_for(lambda s: s["engine"]["handled"] and children(agent.pid), 30, "the engine waits for the model")
        pids = children(agent.pid)
        assert agent.stop(timeout_s=10) == 0
    assert "did not stop in time" not in agent.tail()
    for pid in pids:
        wait_gone(pid)
