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


def run_until_killed(directory, seed, after_s, options):
    """One life of the child; returns (its epoch, what it had confirmed)."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.kill_child", str(directory), str(seed), *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = child.stdout.readline().split()
    if first:
        time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.wait()
    child.stdout.close()
    lines = rest.splitlines()
    whole = lines if rest.endswith("\n") else lines[:-1]
    confirmed = [line.split()[1:] for line in whole if line.startswith("flushed")]
    newest = dict(pair.split("=") for pair in confirmed[-1]) if confirmed else {}
    return (first[1] if first else None), {stream: int(seq) for stream, seq in newest.items()}


def kill_campaign(directory, lives, seed, options):
    rng = random.Random(seed)
    confirmed = {}
    for life in range(lives):
        epoch, newest = run_until_killed(directory, seed * 1000 + life, rng.uniform(0.0, 0.3), options)
        assert epoch not in confirmed
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
    assert len(found.epochs) == 25


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("options", [AMPLE, SHORT], ids=["ample", "short"])
def test_nothing_confirmed_is_missing_after_1000_kills(tmp_path, options):
    kill_campaign(tmp_path, 500, 2, options)
