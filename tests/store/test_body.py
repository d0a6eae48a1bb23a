"""The store's thread: what `put` gives is committed in time, in groups, or declared; whatever the disk does."""

import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from edge_agent.clock import SystemClock
from edge_agent.contract import decode, messages
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.errors import Retryable
from edge_agent.ports import Body
from edge_agent.store.aside import asides
from edge_agent.store.body import Options, StoreBody
from edge_agent.store.database import Damaged, Database
from edge_agent.store.opening import open_store
from edge_agent.store.writer import TimeFix
from edge_agent.types import Act, Gap, Infer, Reading, Record
from tests.store import effects
from tests.store.accounting import account, assert_epochs_are_dense

NEVER_NS = 3_600_000_000_000


class Running:
    """A body on its thread. `commits` and `health` are what it told."""

    def __init__(self, directory, *, interval_ns=NEVER_NS, first_ns=0, quota_bytes=64 << 20, **options):
        self.clock = SystemClock()
        self.writer = open_store(directory, gateway="gw1", quota_bytes=quota_bytes, clock=self.clock)
        self.epoch = self.writer.epoch
        self.health, self.commits = [], []
        self.committed = threading.Condition()
        self.body = StoreBody(
            self.writer,
            clock=self.clock,
            describe=lambda stream: StreamSpec(units={"temp": "Cel"}),
            options=Options(commit_interval_ns=interval_ns, first_interval_ns=first_ns or interval_ns, **options),
            on_health=lambda up, reason: self.health.append((up, reason)),
        )
        self.body.on_commit.append(self.told)
        self.outbox = self.body.outbox()
        self.thread = threading.Thread(target=self.body.run)
        self.thread.start()

    def told(self, committed):
        with self.committed:
            self.commits.append(committed)
            self.committed.notify_all()

    def wait_commits(self, count, timeout_s=10):
        with self.committed:
            return self.committed.wait_for(lambda: len(self.commits) >= count, timeout_s)

    def stop(self):
        self.body.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.outbox.close()
        self.writer.close()


@contextmanager
def running(directory, **options):
    box = Running(directory, **options)
    try:
        yield box
    finally:
        box.stop()


def test_is_a_body_of_a_thread(tmp_path):
    with running(tmp_path) as box:
        body: Body = box.body
        assert body.name == "store"
        assert body.progress_ns > 0


def test_flushed_readings_are_committed_in_one_row(tmp_path):
    with running(tmp_path) as box:
        for seq in range(100):
            box.body.put([effects.record(seq, "a"), effects.record(seq, "b")])
        assert box.body.flush(10)
        (row,) = box.outbox.unacked(2, 0, 10)
        assert {(s.stream, s.first, s.last, s.epoch) for s in row.segments} == {
            ("a", 0, 99, box.epoch),
            ("b", 0, 99, box.epoch),
        }
        assert (row.kind, row.key, row.n, row.epoch) == ("tele", "all", 200, box.epoch)
        assert len(box.commits) == 1


def test_readings_are_committed_every_interval_without_being_asked(tmp_path):
    with running(tmp_path, interval_ns=50_000_000) as box:
        box.body.put([effects.record(0)])
        assert box.wait_commits(1)
        box.body.put([effects.record(1)])
        assert box.wait_commits(2)


@pytest.mark.parametrize("refusing", [False, True])
def test_interval_is_told_whether_anything_is_committed_or_not(tmp_path, monkeypatch, refusing):
    with running(tmp_path, interval_ns=20_000_000) as box:
        faults = Faults(monkeypatch)
        faults.refusing = refusing
        if refusing:
            box.body.put([effects.record(0)])
        told = threading.Semaphore(0)
        box.body.on_interval.append(told.release)
        assert all(told.acquire(timeout=10) for _ in range(5))
        assert box.commits == []
        assert bool(box.body.failing) is refusing
        faults.refusing = False


def test_first_readings_after_a_start_do_not_wait_for_the_interval(tmp_path):
    with running(tmp_path, first_ns=20_000_000) as box:
        assert not box.wait_commits(1, 0.1)
        box.body.put([effects.record(0)])
        assert box.wait_commits(1)
        box.body.put([effects.record(1)])
        assert not box.wait_commits(2, 0.3)


@pytest.mark.parametrize("effect", [effects.decision(0), effects.alert(0)])
def test_decisions_and_alerts_are_committed_at_once_and_readings_keep_their_interval(tmp_path, effect):
    with running(tmp_path) as box:
        box.body.put([effects.record(0)])
        box.body.put([effect, effects.prediction(0)])
        assert box.wait_commits(1)
        assert box.commits[0].newest == (1, 1, 0)
        box.body.put([effects.record(1)])
        assert box.body.flush(10)
        (row,) = box.outbox.unacked(2, 0, 10)
        assert row.n == 2


def test_full_row_is_committed_before_its_time(tmp_path):
    with running(tmp_path, row_limit_bytes=4096) as box:
        box.body.put(effects.records(0, 2999))
        assert box.wait_commits(1)
        for row in box.outbox.unacked(2, 0, 100):
            assert len(row.body) <= 4096


def test_loss_is_never_committed_before_the_readings_that_were_numbered_before_it(tmp_path):
    """Killed after any commit, the epoch's closing must not promise numbers that are nowhere."""
    with running(tmp_path) as box:
        box.body.put([effects.record(0), Gap("press", box.epoch, 1, 5, "overload", effects.at())])
        box.body.put([effects.decision(0)])
        assert box.wait_commits(1)
        assert box.commits[0].newest[2] == 1
        (entry,) = [row for row in box.outbox.unacked(0, 0, 10) if row.kind == "ledger"]
        assert list(decode.lost(decode.decode_row(entry.body))) == [("press", box.epoch, 1, 5, "overload")]


def test_overflow_is_declared_and_decisions_still_fit(tmp_path):
    clock = SystemClock()
    writer = open_store(tmp_path, gateway="gw1", quota_bytes=64 << 20, clock=clock)
    body = StoreBody(writer, clock=clock, describe=lambda s: StreamSpec(), options=Options(inbox=100))
    for seq in range(150):  # the thread does not run yet: as if the disk hung
        body.put([effects.record(seq)])
    body.put([effects.prediction(0), effects.decision(0), effects.alert(0)])
    thread = threading.Thread(target=body.run)
    thread.start()
    assert body.flush(10)
    body.stop()
    thread.join()
    writer.close()
    found = account(tmp_path)
    assert list(found.rows["press", writer.epoch]) == [(0, 99)]
    assert list(found.lost["press", writer.epoch]) == [(100, 149)]
    assert list(found.lost["infer-bearing", writer.epoch]) == [(0, 0)]
    assert list(found.rows["decision", writer.epoch]) == [(0, 0)]
    assert list(found.rows["alert", writer.epoch]) == [(0, 0)]
    assert list(found.reasons) == ["overload"]


def test_what_no_row_can_carry_is_declared_alone(tmp_path):
    huge = random.Random(1).randbytes(10_000).hex()
    with running(tmp_path, row_limit_bytes=4096) as box:
        box.body.put([effects.decision(0), effects.decision(1, text=huge), effects.decision(2, text="\ud800")])
        box.body.put([effects.prediction(0, detail={"boxes": huge})])
        assert box.body.flush(10)
        kinds = [decode.decode_row(row.body) for prio in (0, 1) for row in box.outbox.unacked(prio, 0, 10)]
        lost = [item for m in kinds if isinstance(m, messages.GapMessage) for item in decode.lost(m)]
        assert lost == [("decision", box.epoch, 1, 2, "rejected")]
        (prediction,) = [m for m in kinds if isinstance(m, messages.Infer)]
        assert prediction.detail is None
        assert prediction.outputs == {"score": 0.0}


def test_actions_and_model_inputs_are_passed_over(tmp_path):
    with running(tmp_path) as box:
        act = Act(1, "press", "relay", 0, "overheat", effects.at())
        infer = Infer("bearing", 1, effects.at(), b"", (1, 1))
        box.body.put([act, infer, effects.record(0)])
        assert box.body.flush(10)
        assert sum(box.outbox.newest(prio) for prio in (0, 1, 2)) == 1


def test_time_fix_becomes_a_ledger_entry(tmp_path):
    with running(tmp_path) as box:
        box.body.put([TimeFix("8f14e45f", 1_767_220_476_544, 40)])
        assert box.body.flush(10)
        (row,) = box.outbox.unacked(0, 0, 10)
        fix = decode.decode_row(row.body)
        assert (fix.boot, fix.offset_ms, fix.uncertainty_ms, fix.stream, fix.seq) == (
            "8f14e45f",
            1_767_220_476_544,
            40,
            "ledger",
            0,
        )


def test_device_cursor_is_told_only_after_the_commit(tmp_path):
    with running(tmp_path) as box:
        box.body.put([effects.record(i, "dev", cursor=900 + i) for i in range(3)])
        assert box.commits == []
        assert box.body.flush(10)
        assert box.commits[0].cursors == {"dev": 902}
        assert box.commits[0].readings == 3


def test_acknowledgements_are_durable_soon_although_nothing_else_is_committed(tmp_path):
    with running(tmp_path, interval_ns=20_000_000) as box:
        box.body.put(effects.records(0, 9))
        assert box.body.flush(10)
        box.outbox.delivered([(2, 1)])
        assert box.body.flush(10)
        kept = tmp_path.with_name(tmp_path.name + "-kept")
        kept.mkdir()
        for name in ("store.db", "store.db-wal", "store.id"):
            (kept / name).write_bytes((tmp_path / name).read_bytes())
    with running(kept) as box:
        assert box.outbox.unacked(2, 0, 10) == []


def test_stop_commits_what_was_put(tmp_path):
    with running(tmp_path) as box:
        box.body.put(effects.records(0, 9))
        epoch = box.epoch
    assert list(account(tmp_path).rows["press", epoch]) == [(0, 9)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.db", "store.id", "store.lock", "store.reserve"]


def test_body_goes_on_after_it_was_replaced(tmp_path):
    """What a supervisor does after a bug: `run` again, on another thread."""
    with running(tmp_path) as box:
        failures = ["a bug in a callback"]

        def buggy(committed):
            if failures:
                raise AssertionError(failures.pop())

        box.body.on_commit.append(buggy)
        threading.excepthook, hook = lambda args: None, threading.excepthook
        try:
            box.body.put(effects.records(0, 9))
            assert not box.body.flush(0.3)
            box.thread.join(5)
        finally:
            threading.excepthook = hook
        box.thread = threading.Thread(target=box.body.run)
        box.thread.start()
        box.body.put(effects.records(10, 19))
        assert box.body.flush(10)
    assert list(account(tmp_path).rows["press", box.epoch]) == [(0, 19)]
    assert not account(tmp_path).twice


# --- a disk that refuses -------------------------------------------------------------------------------------------


class Faults:
    """Makes the next COMMITs fail, before or after they have landed; `refusing` makes all of them fail.

    While `flowing` is clear, COMMIT hangs, and `held` says that it does.
    """

    def __init__(self, monkeypatch):
        self.before, self.after = [], []
        self.refusing = False
        self.flowing = threading.Event()
        self.flowing.set()
        self.held = threading.Event()
        real = Database.execute

        def execute(db, sql, parameters=()):
            if sql == "COMMIT" and not self.flowing.is_set():
                self.held.set()
                self.flowing.wait(30)
            if sql == "COMMIT" and self.refusing:
                raise Retryable("disk I/O error")
            if sql == "COMMIT" and self.before:
                raise self.before.pop()
            out = real(db, sql, parameters)
            if sql == "COMMIT" and self.after:
                raise self.after.pop()
            return out

        monkeypatch.setattr(Database, "execute", execute)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Retryable, Damaged])
def test_commit_that_failed_is_repeated_and_nothing_is_there_twice(tmp_path, monkeypatch, when, error):
    with running(tmp_path, interval_ns=20_000_000) as box:
        faults = Faults(monkeypatch)
        getattr(faults, when).extend([error("disk I/O error") for _ in range(3)])
        box.body.put([*effects.records(0, 9), Gap("press", box.epoch, 10, 12, "device", effects.at())])
        assert box.body.flush(10)
        box.body.put([*effects.records(13, 19), effects.decision(0)])
        assert box.body.flush(10)
        assert [up for up, _ in box.health][:2] == [False, True]
        assert box.health[-1] == (True, "")
        assert box.commits[-1].newest[2] == 2
    found = account(tmp_path)
    assert list(found.whole("press", box.epoch)) == [(0, 19)]
    assert list(found.lost["press", box.epoch]) == [(10, 12)]
    assert list(found.whole("ledger", box.epoch)) == [(0, 0)]
    assert not found.twice
    assert not found.both()


def test_damage_noticed_while_running_is_left_behind_and_what_is_whole_is_taken_over(tmp_path, monkeypatch):
    """Durability row 5, at run time: the epoch goes on in a new file, since its numbers do."""
    with running(tmp_path, interval_ns=20_000_000) as box:
        box.body.put(effects.records(0, 9))
        assert box.body.flush(10)
        box.body.put(effects.records(10, 19))
        assert box.body.flush(10)
        box.outbox.delivered([(2, 1)])
        Faults(monkeypatch).before.append(Damaged("database disk image is malformed"))
        box.body.put([*effects.records(20, 29), effects.decision(0)])
        assert box.body.flush(10)
        assert [path.name for path in asides(tmp_path)] == ["store.db.corrupt-1"]
        assert wait_until(lambda: not box.writer.salvaging)
        box.body.put(effects.records(30, 39))
        assert box.body.flush(10)
    found = account(tmp_path)
    assert found.epochs == [box.epoch]
    assert list(found.rows["press", box.epoch]) == [(10, 39)]
    assert list(found.rows["decision", box.epoch]) == [(0, 0)]
    assert not found.twice
    assert not found.both()
    with running(tmp_path) as again:
        assert again.writer.found == ""
        assert again.body.flush(10)
        assert again.epoch != box.epoch
    closing = account(tmp_path).closed[box.epoch]
    assert closing.last["press"] == 39


def wait_until(true, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not true() and time.monotonic() < end_s:
        time.sleep(0.02)
    return true()


def test_put_never_waits_for_a_disk_that_hangs(tmp_path, monkeypatch):
    with running(tmp_path, interval_ns=10_000_000) as box:
        faults = Faults(monkeypatch)
        faults.flowing.clear()
        box.body.put([effects.record(0), effects.decision(0)])
        assert faults.held.wait(10)
        for seq in range(1, 30_000):
            box.body.put([effects.record(seq)])
        box.body.put([effects.decision(1)])
        assert box.commits == []
        faults.flowing.set()
        assert box.body.flush(20)
    found = account(tmp_path)
    assert list(found.whole("press", box.epoch)) == [(0, 29_999)]
    assert list(found.rows["decision", box.epoch]) == [(0, 1)]
    assert list(found.reasons) == ["overload"]


def noisy(first, last):
    rng = random.Random(first)
    return [Record(seq, Reading("press", effects.at(seq), {"x": rng.random()})) for seq in range(first, last + 1)]


def test_rows_that_wait_too_long_go_by_priority_and_are_declared(tmp_path, monkeypatch):
    with running(tmp_path, interval_ns=20_000_000, ring_bytes=40_000, quota_bytes=512 * 1024) as box:
        faults = Faults(monkeypatch)
        faults.refusing = True
        for start in range(0, 20_000, 1000):
            box.body.put([*noisy(start, start + 999), effects.decision(start // 1000)])
            assert not box.body.flush(0.01)
        faults.refusing = False
        assert box.body.flush(20)
    found = account(tmp_path)
    assert list(found.whole("press", box.epoch)) == [(0, 19_999)]
    assert list(found.rows["decision", box.epoch]) == [(0, 19)]
    assert found.lost["press", box.epoch].size > 5000
    assert not found.both()
    assert not found.twice


@contextmanager
def small_volume(folder, size="4M"):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path):
    with path.open("wb", buffering=0) as filler:
        for step in (65_536, 4096):
            with suppress(OSError):
                while True:
                    filler.write(bytes(step))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small volume")
def test_full_volume_is_survived_and_everything_is_accounted_for(tmp_path):
    with small_volume(tmp_path / "volume") as volume:
        with running(volume / "data", interval_ns=20_000_000, ring_bytes=20_000, quota_bytes=2 << 20) as box:
            box.body.put(effects.records(0, 999))
            assert box.body.flush(10)
            fill(volume / "filler")
            for start in range(1000, 41_000, 1000):
                assert box.body.wait_room(10)
                box.body.put([*noisy(start, start + 999), effects.decision(start // 1000 - 1)])
            assert not box.body.flush(0.3)
            assert box.body.failing
            (volume / "filler").unlink()
            assert box.body.flush(10)
            assert box.body.failing == ""
            assert [up for up, _ in box.health][:1] == [False]
            assert box.health[-1] == (True, "")
        found = account(volume / "data")
        assert list(found.whole("press", box.epoch)) == [(0, 40_999)]
        assert list(found.whole("decision", box.epoch)) == [(0, 39)]
        assert list(found.reasons) == ["overload"]
        assert not found.both()
        with running(volume / "data"):
            pass
        assert_epochs_are_dense(account(volume / "data"))
