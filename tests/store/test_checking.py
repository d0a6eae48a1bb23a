"""`check_store` finds what is wrong, names it, changes nothing, and cries no wolf beside a writer that works."""

import sqlite3

import pytest

from edge_agent.errors import EdgeError
from edge_agent.store import checking
from edge_agent.store.checking import Progress, check_store
from edge_agent.store.exporting import Wanted, export_of
from edge_agent.store.salvage import Salvage
from tests.store.box import Box
from tests.store.test_reader import filled


def edit(directory, sql, *parameters):
    db = sqlite3.connect(directory / "store.db", isolation_level=None)
    changed = db.execute(sql, parameters).rowcount
    db.close()
    return changed


def findings(directory):
    checked = check_store(directory / "store.db")
    assert checked.ok == (not checked.findings)
    return [(f.what, f.prio, f.row, f.stream, f.first, f.last) for f in checked.findings]


def test_store_in_order_is_so_beside_its_writer_and_after_it(tmp_path):
    box = filled(tmp_path)
    told = []
    checked = check_store(tmp_path / "store.db", Progress(told.append, told.append))
    assert checked.ok, checked
    assert (checked.rows, checked.readings, checked.opened) == (7, 34, "read-only")
    assert told[0] == sum(told[1:]) == 7
    box.restart()
    box.commit(box.telemetry(["press"], 5))
    box.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert findings(tmp_path) == []
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()


def test_row_deleted_behind_the_agents_back_is_a_hole(tmp_path):
    box = filled(tmp_path)
    box.close()
    assert edit(tmp_path, "DELETE FROM row2 WHERE id = 3") == 1
    assert findings(tmp_path) == [("hole", 2, 0, "press", 10, 14), ("hole", 2, 0, "tank", 10, 14)]


def test_last_row_of_an_epoch_that_is_gone_is_a_hole_by_its_closing(tmp_path):
    box = Box(tmp_path)
    box.commit(box.telemetry(["press"], 5))
    box.commit(box.telemetry(["press"], 5))
    box.restart()
    box.commit(box.telemetry(["press"], 5))
    box.close()
    edit(tmp_path, "DELETE FROM row2 WHERE id = 2")
    assert findings(tmp_path) == [("hole", 2, 0, "press", 5, 9)]


def test_row_that_was_delivered_and_let_go_is_no_hole(tmp_path):
    box = Box(tmp_path)
    for _ in range(4):
        box.commit(box.telemetry(["press"], 5))
    box.deliver(box.waiting(2)[:2])
    box.commit()
    box.close()
    edit(tmp_path, "DELETE FROM row2 WHERE id <= 2")
    assert findings(tmp_path) == []


@pytest.mark.parametrize("column", ["head", "body"])
def test_flipped_bit_is_a_damaged_row_that_is_named(tmp_path, column):
    box = filled(tmp_path)
    box.close()
    db = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    (blob,) = db.execute(f"SELECT {column} FROM row2 WHERE id = 2").fetchone()
    db.execute(f"UPDATE row2 SET {column} = ? WHERE id = 2", (blob[:-9] + bytes([blob[-9] ^ 4]) + blob[-8:],))
    db.close()
    assert findings(tmp_path) == [("damaged", 2, 2, "", -1, -1)]


def test_row_twice_and_a_row_that_was_declared_lost_are_contradictions(tmp_path):
    box = Box(tmp_path)
    drafts = box.telemetry(["press"], 5)
    box.commit(drafts)
    box.commit(drafts)
    box.commit(lost=[("press", 3, 4, "overload")])
    box.close()
    found = findings(tmp_path)
    assert ("again", 2, 2, "press", 0, 4) in found
    assert ("both", 2, 1, "press", 3, 4) in found


def test_row_of_a_start_that_never_was(tmp_path):
    box = filled(tmp_path)
    box.close()
    edit(tmp_path, "DELETE FROM epoch")
    assert {what for what, *_ in findings(tmp_path)} >= {"epoch"}


def test_trigger_put_in_by_hand_is_named(tmp_path):
    box = filled(tmp_path)
    box.close()
    edit(tmp_path, "CREATE TRIGGER evil AFTER INSERT ON row2 BEGIN DELETE FROM row0; END")
    checked = check_store(tmp_path / "store.db")
    assert [f.text for f in checked.findings] == ["evil is not as the agent made it"]


def test_garbage_page_is_stepped_over_and_the_rest_is_read(tmp_path):
    box = Box(tmp_path, quota_bytes=8_000_000)
    for _ in range(300):
        box.commit(box.telemetry(["press"], 3, noise_bytes=200))
    box.close()
    path = tmp_path / "store.db"
    content = bytearray(path.read_bytes())
    at = len(content) // 1024 // 2 * 1024
    content[at : at + 1024] = b"\xa5" * 1024
    path.write_bytes(content)
    checked = check_store(path)
    assert not checked.ok
    assert checked.rows >= 290
    assert sum(checked.counts.values()) < 60


@pytest.mark.slow
def test_quota_that_thins_and_drops_leaves_no_hole_and_no_false_alarm(tmp_path):
    box = Box(tmp_path)
    for i in range(900):
        box.commit(box.telemetry(["press", "tank"], 3, noise_bytes=300))
        if i % 50 == 49:
            assert findings(tmp_path) == []
        if i == 500:
            box.deliver(box.waiting(0) + box.waiting(2)[:100])
    assert box.writer.outgoing.newest(2) > check_store(tmp_path / "store.db").rows
    box.close()


@pytest.mark.slow
def test_rows_that_go_while_it_reads_are_accounted_for_at_the_end(tmp_path, monkeypatch):
    box = Box(tmp_path)
    for _ in range(300):
        box.commit(box.telemetry(["press"], 3, noise_bytes=300))
    table = checking._Check._table

    def with_a_writer_beside(self, prio, newest, numbering):
        if prio == 2:
            for _ in range(150):
                box.commit(box.telemetry(["press"], 3, noise_bytes=300))
        table(self, prio, newest, numbering)

    monkeypatch.setattr(checking._Check, "_table", with_a_writer_beside)
    assert findings(tmp_path) == []
    box.close()


@pytest.mark.parametrize("content", [b"", b"text" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_file_that_is_no_store_gets_a_typed_error(tmp_path, content):
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(EdgeError):
        check_store(tmp_path / "store.db")
    assert (tmp_path / "store.db").read_bytes() == content


@pytest.mark.parametrize(
    ("column", "content"), [("kind", b"\xf4ele"), ("key", b"\xe1ll"), ("head", b"\xf0"), ("body", b"text")]
)
def test_row_whose_texts_are_no_texts_is_one_damaged_row_for_check_export_and_salvage(tmp_path, column, content):
    filled(tmp_path).close()
    edit(tmp_path, f"UPDATE row2 SET {column} = CAST(? AS TEXT) WHERE id = 2", content)
    assert ("damaged", 2, 2, "", -1, -1) in findings(tmp_path)
    with export_of(tmp_path / "store.db", Wanted(frozenset({"readings"}))) as export:
        assert len(list(export.records())) == 20
        assert export.damaged == (column != "kind"), "what it was cannot be told of a row without its kind"
    salvage = Salvage(tmp_path / "store.db", None)
    assert (salvage.counts.whole, salvage.counts.damaged) == (6, 1)
    assert all(row.id != 2 for row in salvage.all_rows() if row.prio == 2)
    salvage.close()


def test_note_that_is_no_json_is_a_finding_and_stops_no_salvage(tmp_path):
    filled(tmp_path).close()
    edit(tmp_path, "UPDATE meta SET value = ? WHERE key = 'note'", b'{"z":' + b"[" * 100_000)
    assert [what for what, *_ in findings(tmp_path)] == ["structure"]
    salvage = Salvage(tmp_path / "store.db", None)
    assert salvage.counts.whole == 7
    salvage.close()
