"""What a person sees of the store, beside the agent and without it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge_agent.errors import EdgeError, Fatal, Retryable
from edge_agent.store.reader import view_store
from tests.store import effects
from tests.store.box import Box

ROOT = Path(__file__).parents[2]


def filled(directory):
    box = Box(directory)
    for _ in range(3):
        box.commit(box.telemetry(["press", "tank"], 5))
    box.commit([box.decision(), box.prediction()])
    box.commit([box.writer.encoder.alert(effects.alert(box.number("alert")))], [("press", 15, 19, "overload")])
    box.deliver(box.waiting(2)[:2])
    box.commit()
    return box


def assert_is_what_was_filled(view, epoch):
    rows = {p.prio: (p.rows, p.readings, p.waiting_rows, p.waiting_readings) for p in view.priorities}
    assert rows == {0: (3, 3, 3, 3), 1: (1, 1, 1, 1), 2: (3, 30, 1, 10)}
    assert view.priorities[2].oldest_ms == effects.WALL0 // 10**6
    assert view.priorities[0].oldest_waiting_ms == effects.WALL0 // 10**6
    assert [d.rule.id for d in view.decisions] == ["overheat"]
    assert [a.state for a in view.alerts] == ["raised"]
    assert [(g.stream, g.first, g.count, g.reason) for g in view.gaps] == [("press", 15, 5, "overload")]
    assert (view.epochs[0].start_no, view.epochs[0].epoch) == (1, epoch)
    assert view.last == {"press": 19, "tank": 14, "decision": 0, "infer-bearing": 0, "alert": 0, "ledger": 0}
    assert view.dead_letters == 0
    assert view.database_bytes > 0
    assert msgspec.json.encode(view)


def test_store_is_read_beside_its_writer(tmp_path):
    box = filled(tmp_path)
    view = view_store(tmp_path)
    assert_is_what_was_filled(view, box.epoch)
    assert (view.opened, view.aside) == ("read-only", [])
    assert view.wal_bytes > 0
    box.commit(box.telemetry())
    assert view_store(tmp_path).priorities[2].rows == 4


def test_store_is_read_after_the_agent_ended(tmp_path):
    box = filled(tmp_path)
    box.close()
    before = (tmp_path / "store.db").read_bytes()
    assert_is_what_was_filled(view_store(tmp_path), box.epoch)
    assert (tmp_path / "store.db").read_bytes() == before
    box.open()
    assert box.writer.found == ""


def test_store_is_read_after_a_kill(tmp_path):
    box = filled(tmp_path)
    kept = tmp_path.with_name(tmp_path.name + "-kept")
    kept.mkdir()
    for name in ("store.db", "store.db-wal", "store.id"):
        (kept / name).write_bytes((tmp_path / name).read_bytes())
    assert_is_what_was_filled(view_store(kept), box.epoch)


def view_as_nobody(directory):
    program = (
        "import os, sys; from pathlib import Path; import msgspec; from edge_agent.store.reader import view_store;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "sys.stdout.write(msgspec.json.encode(view_store(Path(sys.argv[1]))).decode())"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_reads_it_too_and_is_told_how(tmp_path):
    directory = tmp_path / "data"
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    box = filled(directory)
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)
    running = view_as_nobody(directory)
    box.close()
    stopped = view_as_nobody(directory)
    if "ModuleNotFoundError" in running.stderr or "Permission denied: '/work" in running.stderr:
        pytest.skip("this checkout cannot be read by another user")
    assert '"opened":"read-only"' in running.stdout, running.stderr
    assert '"opened":"immutable"' in stopped.stdout, stopped.stderr


def test_what_was_moved_aside_is_shown(tmp_path):
    box = filled(tmp_path)
    box.close()
    (tmp_path / "store.db").write_bytes(b"garbage" * 1000)
    box.open()
    assert view_store(tmp_path).aside == ["store.db.corrupt-1"]


def test_no_store_is_said_so(tmp_path):
    with pytest.raises(Retryable) as refused:
        view_store(tmp_path)
    assert "no store" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("content", [b"", b"text" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_file_that_is_no_store_gets_a_typed_error(tmp_path, content):
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(EdgeError):
        view_store(tmp_path)
    assert (tmp_path / "store.db").read_bytes() == content


def test_store_of_another_program_is_refused(tmp_path):
    import sqlite3

    db = sqlite3.connect(tmp_path / "store.db")
    db.execute("CREATE TABLE theirs(x)")
    db.close()
    with pytest.raises(Fatal):
        view_store(tmp_path)
