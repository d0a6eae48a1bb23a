"""`compact` gives space back, keeps every row, and leaves the old file wherever it may not or cannot."""

import os

import pytest

from edge_agent.errors import EdgeError, Fatal
from edge_agent.store import compacting
from edge_agent.store.checking import check_store
from edge_agent.store.compacting import compact
from edge_agent.store.database import Full
from edge_agent.store.reserve import RESERVE
from tests.store.accounting import account
from tests.store.box import Box

pytestmark = pytest.mark.slow


def roomy(directory):
    """Half of its pages are free."""
    box = Box(directory, quota_bytes=8_000_000)
    for _ in range(250):
        box.commit(box.telemetry(["press"], 3, noise_bytes=1600))
    box.close()
    box.quota_bytes = 700_000
    box.open()
    for _ in range(5):
        box.commit(box.telemetry(["press"], 3, noise_bytes=1600))
    return box


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix not in (".lock", ".db-shm")}


def test_free_pages_go_and_every_row_stays(tmp_path):
    box = roomy(tmp_path)
    box.close()
    before, there = account(tmp_path), files(tmp_path).keys()
    done = compact(tmp_path / "store.db")
    assert done.after_bytes < done.before_bytes * 0.8
    after = account(tmp_path)
    assert (after.rows, after.lost, after.ids, after.epochs) == (before.rows, before.lost, before.ids, before.epochs)
    assert files(tmp_path).keys() == there
    assert there - {RESERVE} == {"store.db", "store.id"}
    box.open()
    assert box.writer.found == ""
    box.commit(box.telemetry())
    box.close()
    assert check_store(tmp_path / "store.db").ok


def test_beside_a_running_agent_it_is_refused_with_the_reason_and_nothing_changes(tmp_path):
    box = roomy(tmp_path)
    before = files(tmp_path)
    with pytest.raises(Fatal) as refused:
        compact(tmp_path / "store.db")
    assert "in use by another agent" in refused.value.message
    assert "stop" in refused.value.hint
    assert before.items() <= files(tmp_path).items()
    box.commit(box.telemetry())
    box.close()


def test_damaged_store_is_left_as_it_is(tmp_path):
    box = roomy(tmp_path)
    box.writer._db.execute("UPDATE row2 SET n = 9 WHERE id = (SELECT max(id) FROM row2)")
    box.close()
    before = files(tmp_path)
    with pytest.raises(Fatal, match="not in order"):
        compact(tmp_path / "store.db")
    assert before.items() <= files(tmp_path).items()


def test_cut_off_anywhere_leaves_the_old_store_whole(tmp_path, monkeypatch):
    box = roomy(tmp_path)
    box.close()
    before = account(tmp_path)

    def cut(*_):
        raise KeyboardInterrupt

    for step in ("_copy", "_refuse_damaged", "sync_folder"):
        with monkeypatch.context() as patch:
            patch.setattr(compacting, step, cut)
            with pytest.raises(KeyboardInterrupt):
                compact(tmp_path / "store.db")
        assert account(tmp_path).ids == before.ids, step
        assert not [name for name in files(tmp_path) if "compact" in name], step
        assert check_store(tmp_path / "store.db").ok


def test_volume_without_room_for_the_copy_is_named_before_anything_is_written(tmp_path, monkeypatch):
    roomy(tmp_path).close()
    before = files(tmp_path)
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:4], 3, *found[5:]))
    monkeypatch.setattr(compacting.os, "statvfs", lambda _: full)
    with pytest.raises(Full, match="the copy needs"):
        compact(tmp_path / "store.db")
    assert before.keys() == files(tmp_path).keys()


def test_no_store_is_an_error_that_says_so(tmp_path):
    with pytest.raises(EdgeError, match="no store"):
        compact(tmp_path / "store.db")
