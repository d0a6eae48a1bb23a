"""Two recordings of one time, replayed as fast as possible: each rule sees its source, and one run is as another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.command import edge_agent

AGENT = '[agent]\ngateway = "g"\ndata_dir = "{folder}/data"\nrun_dir = "{folder}/run"\n[uplink]\nkind = "none"\n'
SOURCE = """
[[source]]
name = "{name}"
kind = "replay"
path = "{name}.csv"
time = "t"
speed = "max"
[source.fields]
temp = {{ unit = "Cel" }}
[[rule]]
id = "{name}-hot"
when = "{name}.temp > 90"
for = "5s"
alert = true
"""


def record(folder: Path, name: str, *, every_s: float, hot_s: range) -> str:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    instants_s = [k * every_s for k in range(int(600 / every_s))]
    rows = [f"{(began + timedelta(seconds=s)).isoformat()},{95 if int(s) in hot_s else 50}\n" for s in instants_s]
    (folder / f"{name}.csv").write_text("t,temp\n" + "".join(rows))
    return SOURCE.format(name=name)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_recording_with_few_readings_does_not_make_the_other_one_stale(tmp_path: Path, reverse: bool) -> None:
    often = record(tmp_path, "often", every_s=0.1, hot_s=range(300, 310))
    seldom = record(tmp_path, "seldom", every_s=1, hot_s=range(400, 410))
    site = tmp_path / "site.toml"
    site.write_text(AGENT.replace("{folder}", str(tmp_path)) + (seldom + often if reverse else often + seldom))
    done = edge_agent("run", site, "--end-with-input")
    assert done.code == 0, done.err
    told = [line.partition(" (")[0].partition("edge_agent: ")[2] for line in done.err.splitlines() if "-hot" in line]
    assert told == [f"warning {what}: {name}-hot" for name in ("often", "seldom") for what in ("raised", "cleared")]
