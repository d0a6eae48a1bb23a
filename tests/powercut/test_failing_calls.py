"""Every call that can fail fails once, or from there on; or the process dies there. Nothing promised is lost."""

import json
import subprocess
import sys

import pytest

from tests.powercut.faults import FAULTS
from tests.powercut.recorder import ROOT, environment

_SAMPLED = 9
"""In every CI run each fault meets every ninth call."""


def every_call_fails(folder, library, fault, every):
    """Returns what was tried, and asserts that nothing went wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.powercut.faults", str(folder), fault, str(every)],
        env=environment(library, folder), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report["wrong"], "\n".join(report["wrong"])
    return report


def test_nothing_is_lost_where_a_write_fails(box_folder, recorder):
    assert every_call_fails(box_folder, recorder, "one write fails", 40)["tried"] >= 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_the_store_comes_back_whichever_call_fails(box_folder, recorder, fault):
    assert every_call_fails(box_folder, recorder, fault, _SAMPLED)["tried"] >= 1


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_the_store_comes_back_for_each_call_that_fails(box_folder, recorder, fault):
    report = every_call_fails(box_folder, recorder, fault, 1)
    print(f"{report['fault']}: {report['tried']} runs, one for each call, nothing lost")
    assert report["tried"] > 5
