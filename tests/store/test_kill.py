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
QUOTA = 64 * 1024 * 1024


def run_until_killed(directory, seed, after_s, quota_bytes=QUOTA):
    """One life of the child; returns (its epoch, what it had confirmed)."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.kill_child", str(directory), str(seed), str(quota_bytes)],
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


def kill_campaign(directory, lives, seed):
    rng = random.Random(seed)
    confirmed = {}
    for life in range(lives):
        epoch, newest = run_until_killed(directory, seed * 1000 + life, rng.uniform(0.0, 0.3))
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
def test_nothing_confirmed_is_missing_after_50_kills(tmp_path):
    found, confirmed = kill_campaign(tmp_path, 50, seed=1)
    assert sum(len(newest) for newest in confirmed.values()) > 100
    assert len(found.epochs) == 50


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_confirmed_is_missing_after_1000_kills(tmp_path):
    kill_campaign(tmp_path, 1000, seed=2)
