"""22,695 real readings, as fast as possible, through windows, rules and a model, arrive complete and in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from demo_backend import DemoBackend

from edge_agent.contract.messages import Decided, Infer, RowMessage, Tele
from edge_agent.inference.runtimes.onnx import open_session
from edge_agent.inference.runtimes.runtime import RuntimeOptions
from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import SHARED, RunningAgent, site_text, wait_until
from tests.inference.packages import AE_INPUT, AE_OUTPUT, write_package

CSV = SHARED / "data" / "timeseries" / "machine_temperature_system_failure.csv"
MODEL = SHARED / "data" / "models" / "ae_int8_widecal.onnx"
ROWS, WINDOW = 22_695, 64
LATE = range(10_149, 10_160)
"""Rows whose time lies before that of the row before (the machine's clock was set back): no part of any window."""
SITE = """
[[source]]
name = "machine"
kind = "replay"
path = "{csv}"
time = "timestamp"
values = { temp = "value" }
speed = "max"
stale_after = "1h"
[source.fields]
temp = { unit = "[degF]" }

[[signal]]
name = "machine.temp_6h"
of = "machine.temp"
fn = "mean"
window = "6h"

[[model]]
name = "ae"
package = "ae"
input = ["machine.temp"]
policy = "every"
stale_after = "1h"

[[rule]]
id = "failing"
when = "ae.score > 0.1 && machine.temp_6h < 60"
otherwise = "machine.temp_6h < 40"
for = "30m"
clear = "machine.temp_6h > 70"
"""

pytestmark = [
    pytest.mark.skipif(not CSV.exists(), reason="the shared time series are not there"),
]


class Arrivals:
    """What the subscriber saw, in the order in which it came."""

    def __init__(self) -> None:
        self.temps: list[tuple[int, float]] = []
        self.scores: dict[int, float] = {}
        self.refs: dict[int, tuple[int, int]] = {}
        self.outcomes: list[str] = []

    def take(self, row: RowMessage) -> None:
        if isinstance(row, Tele):
            for s in row.seg:
                self.temps += [(s.seq0 + i, float(x)) for i, x in enumerate(s.ch["temp"].x) if x is not None]
        elif isinstance(row, Infer):
            assert row.valid
            self.scores[row.seq] = float(row.outputs["score"])  # type: ignore[arg-type]
            self.refs[row.seq] = (row.inputs.refs[0].from_, row.inputs.refs[0].to)
        elif isinstance(row, Decided):
            self.outcomes.append(row.outcome)


def bare_scores(values: list[float]) -> list[float]:
    """The same model in a bare loop, as SOURCES.md describes it."""
    x = np.lib.stride_tricks.sliding_window_view(np.array(values, dtype=np.float32), WINDOW)[:, None, :]
    x = np.clip((x - np.float32(79.44754)) / np.float32(9.300171), -6, 4)
    session = open_session(MODEL, RuntimeOptions())
    y = np.concatenate([session.run(None, {session.get_inputs()[0].name: x[i : i + 1]})[0] for i in range(len(x))])
    return [float(score) for score in ((x - y) ** 2).mean(axis=(1, 2))]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_replayed_series_arrives_whole_in_order_and_with_every_prediction(tmp_path: Path) -> None:
    write_package(tmp_path / "ae", MODEL, AE_INPUT + AE_OUTPUT, policy="every")
    expected = [float(line.rpartition(",")[2]) for line in CSV.read_text(encoding="utf-8").splitlines()[1:]]
    seen = Arrivals()
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        backend = DemoBackend(broker.port, on_row=seen.take)
        backend.start()
        site = site_text(broker=broker.port, more=SITE.replace("{csv}", str(CSV)))
        with RunningAgent(tmp_path, site, "--end-with-input") as agent:
            assert agent.wait(300) == 0, agent.tail()
        wait_until(lambda: backend.received("machine") == ROWS, 10, f"all rows: {backend.verdict()}")
        backend.stop()
    verdict = backend.verdict()
    assert (verdict.lost, verdict.gaps, verdict.conflicts) == (0, 0, 0)
    assert sorted(set(seen.temps)) == list(enumerate(expected))
    numbers = [number for number, _ in seen.temps]
    assert numbers == sorted(numbers), "live rows overtook older ones"
    kept = [k for k in range(ROWS) if k not in LATE]
    windows = enumerate(zip(kept, kept[WINDOW - 1 :], strict=False))
    assert seen.refs == dict(windows)
    assert "raised" in seen.outcomes
    wanted = bare_scores([expected[k] for k in kept])
    assert max(abs(seen.scores[k] - score) for k, score in enumerate(wanted)) < 1e-4
