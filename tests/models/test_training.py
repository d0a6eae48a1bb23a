"""The scripts give the shipped models again."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.inference.package import load_package

ROOT = Path(__file__).resolve().parents[2]
_MISSING = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(_MISSING), reason=f"training needs {' and '.join(_MISSING)}")
@pytest.mark.parametrize(
    ("script", "packages"),
    [("train_meter_digits", ["meter-digits", "meter-digits-litert"]), ("train_motor_anomaly", ["motor-anomaly"])],
)
def test_script_and_seed_give_the_same_figures(script, packages, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / f"scripts/{script}.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    for name in packages:
        again, shipped = (load_package(Path(root, "models", name, "1.0.0")).manifest for root in (tmp_path, ROOT))
        assert again.heldout == pytest.approx(shipped.heldout, abs=0.02)
