"""A start on a volume that refuses: the agent is live in memory, and the store opens by itself when the disk does."""

import errno
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import Fatal, Retryable
from edge_agent.links.holders import lock_holders
from edge_agent.store import alarms
from edge_agent.store import opening as opening_module
from edge_agent.store.alarms import Alarms
from edge_agent.store.identity import IDENTITY, read_identity
from edge_agent.store.opening import open_store
from tests.store import effects
from tests.store.accounting import account
from tests.store.test_body import fill, noisy, running, small_volume, wait_until


def mounted(folder, options):
    return subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], capture_output=True, check=False)


def lived_once(directory):
    with running(directory) as box:
        box.body.put(effects.records(0, 9))
        assert box.body.flush(10)
    return box.epoch


def test_start_on_a_read_only_mount_goes_on_in_memory_and_comes_back(tmp_path):
    """Durability row 4."""
    with small_volume(tmp_path / "volume") as volume:
        before = lived_once(volume / "store")
        assert not mounted(volume, "ro").returncode
        with running(volume / "store", interval_ns=20_000_000) as box:
            assert box.writer.offline
            box.body.put([*effects.records(0, 9), effects.decision(0)])
            assert not box.body.flush(0.3)
            assert "Read-only" in box.body.failing
            assert not mounted(volume, "rw").returncode
            assert box.body.flush(10)
            assert (box.body.failing, box.writer.offline) == ("", "")
        found = account(volume / "store")
        assert list(found.rows["press", box.epoch]) == [(0, 9)]
        assert list(found.rows["press", before]) == [(0, 9)]
        assert found.closed[before].last["press"] == 9
        assert read_identity(volume / "store" / IDENTITY).epoch == box.epoch
        assert box.writer.start_no == 2


def test_start_on_a_full_volume_goes_on_in_memory_and_comes_back(tmp_path):
    """Durability row 3."""
    with small_volume(tmp_path / "volume") as volume:
        before = lived_once(volume / "store")
        fill(volume / "filler")
        with running(volume / "store", interval_ns=20_000_000) as box:
            box.body.put([*effects.records(0, 9), effects.decision(0)])
            box.body.flush(0.3)
            (volume / "filler").unlink()
            assert box.body.flush(10)
            assert box.body.failing == ""
        found = account(volume / "store")
        assert list(found.whole("press", box.epoch)) == [(0, 9)]
        assert list(found.rows["decision", box.epoch]) == [(0, 0)]
        assert found.closed[before].last["press"] == 9


def test_first_start_on_a_full_volume_leaves_nothing_half_made(tmp_path):
    with small_volume(tmp_path / "volume", size="1M") as volume:
        fill(volume / "filler")
        with running(volume / "store", interval_ns=20_000_000) as box:
            assert box.writer.offline
            box.body.put([effects.record(0)])
            assert not box.body.flush(0.3)
            (volume / "filler").unlink()
            assert box.body.flush(10)
        assert list(account(volume / "store").rows["press", box.epoch]) == [(0, 0)]


def test_memory_of_a_start_without_a_disk_is_bounded_and_what_it_sheds_is_declared(tmp_path, monkeypatch):
    """Durability row 4: by priority, and told once the disk is there."""
    refusing = [OSError(errno.EIO, "Input/output error")]

    def broken(folder):
        if refusing:
            raise refusing[0]
        folder.mkdir(exist_ok=True)

    monkeypatch.setattr(opening_module, "make_folder", broken)
    with running(tmp_path / "store", interval_ns=10_000_000, ring_bytes=8_000) as box:
        for start in range(0, 20_000, 1000):
            box.body.put(effects.records(start, start + 999))
            assert not box.body.flush(0.01)
        box.body.put([effects.decision(0)])
        assert wait_until(lambda: box.body._ring.held_bytes <= 8_000)
        refusing.clear()
        assert box.body.flush(20)
    found = account(tmp_path / "store")
    assert list(found.whole("press", box.epoch)) == [(0, 19_999)]
    assert found.lost["press", box.epoch].size > 0
    assert list(found.rows["decision", box.epoch]) == [(0, 0)]
    assert not found.both()


def test_epoch_of_a_start_without_a_disk_is_its_own(tmp_path):
    """What was numbered in memory, and lost there, is never numbered again."""
    with small_volume(tmp_path / "volume") as volume:
        epochs = {lived_once(volume / "store")}
        for _ in range(3):
            mounted(volume, "ro")
            with running(volume / "store") as box:
                assert box.writer.offline
            epochs.add(box.epoch)
        mounted(volume, "rw")
        epochs.add(lived_once(volume / "store"))
        assert len(epochs) == 5


def test_database_that_another_program_locks_is_waited_for(tmp_path):
    """Input 79."""
    lived_once(tmp_path)
    with (
        another_program(LOCK, tmp_path / "store.db", "BEGIN EXCLUSIVE") as other,
        running(tmp_path, interval_ns=20_000_000) as box,
    ):
        assert f"(pid {other.pid}) holds a lock on store.db" in box.writer.offline
        box.body.put([effects.record(0)])
        other.stdin.close()
        assert box.body.flush(30)
    assert list(account(tmp_path).rows["press", box.epoch]) == [(0, 0)]


def test_database_that_another_program_locks_while_it_runs_names_that_program(tmp_path):
    """Input 79."""
    with running(tmp_path, interval_ns=20_000_000) as box:
        box.body.put([effects.record(0)])
        assert box.body.flush(10)
        with another_program(LOCK, tmp_path / "store.db", "BEGIN IMMEDIATE") as other:
            box.body.put([effects.record(1)])
            assert wait_until(lambda: box.body.failing, 20)
            assert f"(pid {other.pid}) holds a lock on store.db" in box.body.failing
            other.stdin.close()
            assert box.body.flush(30)
    assert list(account(tmp_path).rows["press", box.epoch]) == [(0, 1)]


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "BEGIN EXCLUSIVE":
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute(sys.argv[2])
db.execute("UPDATE epoch SET boot = boot")
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program(script, path, *arguments):
    """From when it says that it is ready until its input is closed."""
    argv = [sys.executable, "-c", script, str(path), *arguments]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"ready\n"
            yield other
        finally:
            other.kill()


VALID_WAL = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA synchronous=OFF")
db.execute("PRAGMA wal_autocheckpoint=0")
for i in range(int(sys.argv[2])):
    db.execute("INSERT OR REPLACE INTO dead(id, body) VALUES (1, randomblob(1000000))")
db.execute("DELETE FROM dead")
os._exit(0)
"""
"""Commits of a megabyte, and no end: nothing empties the -wal."""


def garbage(wal):
    wal.write_bytes(random.Random(1).randbytes(1 << 20))
    os.truncate(wal, 3 << 30)


def truncated(wal):
    os.truncate(wal, wal.stat().st_size - 5000)


BESIDE = {
    "sparse": lambda wal: os.truncate(wal, 3 << 30),
    "garbage": garbage,
    "truncated": truncated,
    "valid": lambda _: None,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BESIDE)
def test_start_beside_a_large_wal_is_live_at_once_and_loses_nothing(tmp_path, what):
    """Input 79: 3 GB where nothing of it is to be read, 300 MB where all is."""
    epoch = lived_once(tmp_path)
    megabytes = "1" if what in ("sparse", "garbage") else "300"
    subprocess.run([sys.executable, "-c", VALID_WAL, str(tmp_path / "store.db"), megabytes], check=True)
    BESIDE[what](tmp_path / "store.db-wal")
    assert (tmp_path / "store.db-wal").stat().st_size > opening_module.LARGE_WAL_BYTES
    began = time.monotonic()
    writer = open_store(tmp_path, gateway="gw1", quota_bytes=1 << 20, clock=FakeClock())
    live_s = time.monotonic() - began
    assert "MB, which are read before the store opens" in writer.offline
    writer.close()
    began = time.monotonic()
    with running(tmp_path, interval_ns=20_000_000) as box:
        box.body.put(effects.records(0, 9))
        assert box.body.flush(60)
        print(f"{what}: live after {live_s:.3f} s, the store open after {time.monotonic() - began:.2f} s")
        assert live_s < 5
    found = account(tmp_path)
    assert list(found.rows["press", box.epoch]) == [(0, 9)]
    assert list(found.rows["press", epoch]) == [(0, 9)]
    assert found.closed[epoch].last["press"] == 9


def test_second_agent_is_refused_also_beside_a_large_wal(tmp_path, monkeypatch):
    monkeypatch.setattr(opening_module, "LARGE_WAL_BYTES", 1)
    with running(tmp_path, interval_ns=20_000_000) as box:
        box.body.put([effects.record(0)])
        assert box.body.flush(10)
        with pytest.raises(Fatal):
            open_store(tmp_path, gateway="gw1", quota_bytes=1 << 20, clock=FakeClock())


class Reports:
    def __init__(self):
        self.said = []

    def __call__(self, part, up, reason):
        self.said.append((part, up, reason))


def test_wal_that_a_reader_does_not_let_anybody_empty_is_an_alarm_with_its_name(tmp_path, monkeypatch):
    """Durability row 29."""
    monkeypatch.setattr(alarms, "WAL_BYTES", 1 << 20)
    reports = Reports()
    with running(tmp_path, interval_ns=20_000_000, quota_bytes=4 << 20) as box:
        watch = Alarms(box.writer.path, box.body, reports)
        box.body.put(noisy(0, 99))
        assert box.body.flush(10)
        watch.turn()
        assert reports.said == []
        with another_program(READ, tmp_path / "store.db") as other:
            for start in range(100, 150_100, 1000):
                assert box.body.wait_room(10)
                box.body.put(noisy(start, start + 999))
            assert box.body.flush(10)
            watch.turn()
            watch.turn()
            ((part, up, reason),) = reports.said
            assert (part, up) == ("store.wal", False)
            assert f"(pid {other.pid}) reads in the store" in reason
        for start in range(150_100, 180_100, 1000):
            box.body.put(noisy(start, start + 999))
            assert box.body.flush(10)
        watch.turn()
        assert reports.said[1:] == [("store.wal", True, "")]


READ = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM row2").fetchone()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["write", "fsync"])
def test_commit_that_failed_at_the_disk_is_repeated_over_a_fresh_connection(tmp_path, monkeypatch, when):
    """Durability row 4: after a failed fsync nothing that was only written counts as kept."""
    from edge_agent.store.database import Database
    from tests.store.test_body import Faults

    checkpoints = []
    real = Database.checkpoint
    monkeypatch.setattr(Database, "checkpoint", lambda db: (checkpoints.append(1), real(db)))
    with running(tmp_path, interval_ns=20_000_000) as box:
        faults = Faults(monkeypatch)
        getattr(faults, "before" if when == "write" else "after").append(Retryable("disk I/O error"))
        box.body.put(effects.records(0, 9))
        assert box.body.flush(10)
        assert checkpoints
    assert list(account(tmp_path).rows["press", box.epoch]) == [(0, 9)]


def test_folder_that_is_not_the_agents_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Retryable):
        open_store(tmp_path / "file" / "x", gateway="gw1", quota_bytes=1 << 20, clock=FakeClock())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_store_alone_never_fills_its_volume(tmp_path):
    """Durability row 3: the quota is held under the volume's size, whatever the site file says."""
    with (
        small_volume(tmp_path / "volume", size="2M") as volume,
        running(volume / "store", interval_ns=20_000_000) as box,
    ):
        for start in range(0, 150_000, 1000):
            assert box.body.wait_room(10)
            box.body.put(noisy(start, start + 999))
        assert box.body.flush(20)
        assert box.health == []
        box.outbox.close()
        found = account(volume / "store")
        assert list(found.whole("press", box.epoch)) == [(0, 149_999)]
        assert found.lost["press", box.epoch].size > 0
        assert not found.both()


def test_reserve_makes_room_on_a_volume_that_others_filled(tmp_path):
    """Durability row 3."""
    with small_volume(tmp_path / "volume") as volume, running(volume / "store", interval_ns=20_000_000) as box:
        box.body.put(effects.records(0, 9))
        assert box.body.flush(10)
        reserve = volume / "store" / "store.reserve"
        assert reserve.stat().st_size >= 128 * 1024
        fill(volume / "filler")
        for i in range(100):
            box.body.put([effects.decision(i, text=random.Random(i).randbytes(400).hex())])
        assert box.body.flush(10)
        assert box.body.failing == ""
        (volume / "filler").unlink()
        box.body.put(effects.records(10, 19))
        assert box.body.flush(10)
        assert wait_until(reserve.exists)


def test_volume_of_64_mb_filled_by_another_program_and_freed(tmp_path):
    """Line 3: what is put never waits, every loss is declared, and the store is back in less than ten seconds."""
    with small_volume(tmp_path / "volume", size="64M") as volume:
        with running(volume / "store", interval_ns=50_000_000, ring_bytes=200_000) as box:
            box.body.put(effects.records(0, 999))
            assert box.body.flush(10)
            fill(volume / "filler")
            slowest_s = 0.0
            for start in range(1000, 61_000, 1000):
                assert box.body.wait_room(10)
                readings = [*noisy(start, start + 999), effects.decision(start // 1000 - 1)]
                began = time.monotonic()
                box.body.put(readings)
                slowest_s = max(slowest_s, time.monotonic() - began)
            assert slowest_s < 1
            box.body.flush(0.3)
            assert box.body.failing
            (volume / "filler").unlink()
            began = time.monotonic()
            assert box.body.flush(10)
            print(f"slowest put {slowest_s * 1e3:.1f} ms, back after {time.monotonic() - began:.2f} s")
        found = account(volume / "store")
        assert list(found.whole("press", box.epoch)) == [(0, 60_999)]
        assert list(found.rows["decision", box.epoch]) == [(0, 59)]
        assert found.lost["press", box.epoch].size > 0
        assert not found.both()


def test_wal_that_a_reader_kept_growing_shrinks_when_it_ends(tmp_path):
    """Durability row 29; input 79: a start with a large -wal is as quick, and later commits shrink it."""
    limit_bytes = 1 << 20
    with running(tmp_path, interval_ns=20_000_000, quota_bytes=4 << 20) as box:
        box.body.put(noisy(0, 99))
        assert box.body.flush(10)
        reader = sqlite3.connect(f"file:{tmp_path / 'store.db'}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row2").fetchone()
        for start in range(100, 200_100, 1000):
            assert box.body.wait_room(10)
            box.body.put(noisy(start, start + 999))
            if start % 10_000 == 100:
                assert box.body.flush(10)
        assert box.body.flush(10)
        wal = tmp_path / "store.db-wal"
        assert wal.stat().st_size > limit_bytes
        reader.close()
        for start in range(200_100, 230_100, 1000):
            box.body.put(noisy(start, start + 999))
            assert box.body.flush(10)
        assert wal.stat().st_size <= limit_bytes
    assert list(account(tmp_path).whole("press", box.epoch)) == [(0, 230_099)]


def test_lock_on_the_same_inode_of_another_volume_is_nobody_of_ours(tmp_path, monkeypatch):
    file = tmp_path / "store.db"
    file.touch()
    found = file.stat()
    same, other = (
        f"{os.major(device):02x}:{os.minor(device):02x}:{found.st_ino}" for device in (found.st_dev, found.st_dev + 1)
    )
    for place, seen in ((same, True), (other, False)):
        lines = f"1: POSIX  ADVISORY  WRITE {os.getppid()} {place} 0 EOF\n"
        monkeypatch.setattr(Path, "read_text", lambda path, lines=lines, **_: lines)
        assert bool(lock_holders(file, lambda lock: lock.kind == "WRITE")) is seen
