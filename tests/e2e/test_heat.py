"""Row 23 on the real agent: a hot box takes frames from a model, says so, and takes nothing from rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import edge_agent
from tests.e2e.harness import RunningAgent, site_text
from tests.inference.packages import MODELS, vww_package

VIDEO = MODELS.parent / "video" / "bikes.mp4"
SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 50

[[source]]
name = "eye"
kind = "camera"
file = "{video}"
loop = true

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[model]]
name = "person"
package = "person"
input = "eye"

[[rule]]
id = "shaky"
when = "motor.vibration > 0.0"
for = "0s"
alert = false
actions = [{ set = "press.relay", value = 0, else_value = 1 }]
"""

pytestmark = pytest.mark.skipif(not VIDEO.exists(), reason="the shared models and video are not there")


class AgentOnABoard(RunningAgent):
    """Its zones stand in `folder`/thermal, and a minute of giving back takes five seconds."""

    def argv(self) -> list[str]:
        zones = f"(__import__('pathlib').Path({str(self.folder / 'thermal')!r}),)"
        code = (
            f"import edge_agent.machine as m; m.temperature_c.__defaults__ = {zones}\n"
            "import edge_agent.heat as h; h._WAIT_S = 5.0\n"
            "from edge_agent.cli.main import main; main()"
        )
        return [sys.executable, "-c", code]


def part(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in status["sources"] if s["name"] == name)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_row_23_a_hot_box_sheds_frames_says_so_and_gives_them_back(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    zone = tmp_path / "thermal" / "thermal_zone0" / "temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("55000\n")
    vww_package(tmp_path / "person")
    with AgentOnABoard(tmp_path, site_text(more=SITE.replace("{video}", str(VIDEO)))) as agent:
        cool = agent.wait_for(lambda s: s["lanes"][0]["trust"] == "trusted", 60, "the model works")
        assert "left_out_hot" not in part(cool, "eye")["counts"]
        assert cool["ok"], cool["trouble"]
        zone.write_text("82500\n")
        hot = agent.wait_for(lambda s: "one frame in 4 " in " ".join(s["trouble"]), 60, "a quarter of the frames")
        assert "heat: 82 °C, too hot (80 °C): cameras pass one frame in 4 on; cool the box" in hot["trouble"]
        assert [a["dedupe_key"] for a in hot["alerts"]] == ["health/heat"]
        assert part(hot, "eye")["counts"]["left_out_hot"] > 10
        assert hot["lanes"][0]["trust"] == "trusted"
        assert "too hot" in edge_agent("status", agent.site).out
        on = agent.wait_for(lambda s: s["store"]["readings"] > hot["store"]["readings"] + 50, 30, "readings go on")
        assert on["engine"]["shed"] == {}
        acted = (tmp_path / "actions.jsonl").stat().st_size
        zone.write_text("60000\n")
        back = agent.wait_for(lambda s: not s["alerts"], 60, "all frames again")
        assert back["ok"], back["trouble"]
        assert (tmp_path / "actions.jsonl").stat().st_size >= acted > 0
        assert agent.stop() == 0
