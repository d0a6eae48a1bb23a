"""Every benchmark runs in its short form and prints the figures that the issue and the README promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ("camera", "drain", "engine", "flash", "ingest", "lane", "latency", "memory", "start", "update")


def test_list_names_the_benchmarks_of_the_readme() -> None:
    argv = [sys.executable, "scripts/bench_main.py", "list"]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(BENCHES) <= {line.split()[0] for line in done.stdout.splitlines()}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BENCHES)
def test_benchmark_ends_with_its_figures_as_one_object(name: str) -> None:
    argv = [sys.executable, "scripts/bench_main.py", name, "--quick", "--json"]
    done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["bench"] == name
    figures = document["figures"]
    assert figures
    for figure in figures:
        assert set(figure) == {"name", "value", "unit", "limit", "ratio", "budget", "ok"}
        reason = isinstance(figure["limit"], str)
        assert isinstance(figure["value"], int | float) or reason, figure
        assert figure["ok"] is None or isinstance(figure["ok"], bool)
    assert any(figure["budget"] is not None for figure in figures)


def test_ratio_and_verdict_follow_from_value_limit_and_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from benches.figures import Figure

    assert Figure("n", 2.0, "us", 1.0, budget=3.0).to_dict() == {
        "name": "n", "value": 2.0, "unit": "us", "limit": 1.0, "ratio": 2.0, "budget": 3.0, "ok": True,
    }  # fmt: skip
    assert Figure("n", 4.0, "us", 1.0, budget=3.0).ok is False
    assert Figure("n", 4.0, "1/s", 8.0, budget=5.0, least=True).ok is False
    assert Figure("n", 4.0, "1/s", 5.0, budget=0.75, least=True, of_ratio=True).ok is True
    assert Figure("n", 4.0, "1/s", "no limit: not there", budget=0.75, least=True, of_ratio=True).ok is None
    assert Figure("n", None, "B", "skipped: needs root", budget=1.0).ok is None
