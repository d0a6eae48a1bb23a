"""The demo's verdict holds: nothing lost, nothing doubled, rules never waited."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.harness import ROOT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_demo_ends_by_itself_with_a_verdict_that_holds() -> None:
    pytest.importorskip("iotcore", reason="the demo's broker is not installed for this Python")
    argv = [sys.executable, str(ROOT / "scripts" / "demo_main.py"), "--seconds", "30", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["failures"] == [], done.stderr
    assert (done.returncode, verdict["ok"], verdict["lost"], verdict["duplicated"]) == (0, True, 0, 0)
    assert verdict["produced"] == verdict["committed"] == verdict["delivered"] > 1000
    assert verdict["actions"] >= 1
    assert verdict["rungs"][-1] == "rules-only"
    assert set(verdict["rule_p99_ms"]) == {"healthy", "hung", "dead"}
