"""What `flush` confirmed survives SIGKILL at any moment, and no number is ever used for two things."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.store.accounting import account, assert_epochs_are_dense

ROOT = Path(__file__).parents[2]
AMPLE, SHORT = (1 << 30, "delivering"), (1 << 20, "offline")
"""Quota, and whether something is delivered: what was delivered leaves a short quota without a trace."""


def run_until_killed(directory, seed, after_s, options, *, starting=False):
    """One life of the child; returns (its epoch, what it had confirmed). `starting`: timed from its start."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.kill_child", str(directory), str(seed), *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = "" if starting else child.stdout.readline()
    time.sleep(after_s)  # the random moment is what this is about
    child.send_signal(signal.SIGKILL)
    said = first + child.stdout.read()
    child.wait()
    child.stdout.close()
    whole = [line.split()[1:] for line in said.splitlines(keepends=True) if line.endswith("\n")]
    newest = dict(pair.split("=") for pair in whole[-1]) if len(whole) > 1 else {}
    return (whole[0][0] if whole else None), {stream: int(seq) for stream, seq in newest.items()}


def kill_campaign(directory, lives, seed, options):
    """Every fifth life is killed around its start, which takes 0.2 to 0.4 s on an idle machine."""
    rng = random.Random(seed)
    confirmed = {}
    for life in range(lives):
        starting = life % 5 == 4
        after_s = rng.uniform(0.1, 0.5) if starting else rng.uniform(0.0, 0.3)
        epoch, newest = run_until_killed(directory, seed * 1000 + life, after_s, options, starting=starting)
        assert epoch not in confirmed
        if epoch is not None or not starting:
            confirmed[epoch] = newest
    found = account(directory)
    assert_epochs_are_dense(found)
    for epoch, newest in confirmed.items():
        assert epoch in found.epochs
        for stream, seq in newest.items():
            assert seq in found.whole(stream, epoch), f"{stream} {seq} of {epoch} was confirmed and is gone"
    return found, confirmed


@pytest.mark.slow
@pytest.mark.parametrize("options", [AMPLE, SHORT], ids=["ample", "short"])
def test_nothing_confirmed_is_missing_after_50_kills(tmp_path, options):
    found, confirmed = kill_campaign(tmp_path, 25, 1, options)
    assert sum(len(newest) for newest in confirmed.values()) > 50
    assert 20 <= len(found.epochs) <= 25


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("options", [AMPLE, SHORT], ids=["ample", "short"])
def test_nothing_confirmed_is_missing_after_1000_kills(tmp_path, options, seed):
    """In ten parts of a hundred, so that a part that fails can be repeated alone."""
    kill_campaign(tmp_path, 100, seed, options)
