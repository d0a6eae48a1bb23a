"""Whatever lies at the store's path, the start is quick, keeps what it found, and begins an epoch of its own."""

import errno
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from edge_agent.contract import decode, messages
from edge_agent.errors import Fatal, Retryable
from edge_agent.store import database, opening
from edge_agent.store.database import Limits
from edge_agent.store.identity import Identity, read_identity
from edge_agent.store.lock import DirectoryLock
from edge_agent.store.opening import asides
from edge_agent.store.recovery import Note
from tests.store.accounting import account, assert_epochs_are_dense
from tests.store.box import Box


def closings(box):
    rows = [decode.decode_row(row.body) for row in box.waiting(0)]
    return [row for row in rows if isinstance(row, messages.Close)]


def filled(directory, rows=3):
    box = Box(directory)
    for _ in range(rows):
        box.commit(box.telemetry())
    box.close()
    return box


def test_first_start_has_nothing_to_close(tmp_path):
    box = Box(tmp_path)
    assert (box.writer.found, box.writer.start_no, box.waiting(0)) == ("missing", 1, [])


def test_each_start_has_an_epoch_and_a_number_of_its_own(tmp_path):
    box = Box(tmp_path)
    seen = [(box.writer.start_no, box.epoch)]
    for _ in range(5):
        box.restart()
        seen.append((box.writer.start_no, box.epoch))
    assert [no for no, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert len({epoch for _, epoch in seen}) == 6


def test_epoch_is_closed_at_its_last_number_with_gaps_counted(tmp_path):
    box = Box(tmp_path)
    box.commit(box.telemetry(["press", "tank"], 10))
    box.commit([box.decision()])
    first, last = box.number("press"), box.number("press")
    box.commit(lost=[("press", first, last, "overload")])
    ended = box.epoch
    box.restart()
    (closing,) = closings(box)
    assert (closing.closed, closing.epoch, closing.seq, closing.lost) == (ended, box.epoch, 0, "")
    assert closing.last == {"press": 11, "tank": 9, "decision": 0, "ledger": 0}


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 600])
def test_epoch_is_closed_rightly_wherever_the_note_was_written(tmp_path, rows):
    box = Box(tmp_path)
    for i in range(rows):
        box.commit(box.telemetry([f"s{i % 7}"], 1))
    ended = dict(box.given)
    box.crash()
    (closing,) = closings(box)
    assert closing.last == {stream: last for (stream, _), last in ended.items()}


def test_closing_of_an_epoch_whose_rows_were_all_delivered_and_trimmed(tmp_path):
    box = Box(tmp_path)
    box.commit(box.telemetry(["rare"], 3))
    for _ in range(120):
        box.commit(box.telemetry(["press"], 1, noise_bytes=20_000))
        for prio in (0, 2):
            box.deliver(box.waiting(prio))
    assert box.waiting(2) == []
    assert box.writer._db.one("SELECT min(id) FROM row2") > 2
    box.crash()
    (closing,) = closings(box)
    assert closing.last == {"rare": 2, "press": 119}


def test_device_cursors_outlive_epochs(tmp_path):
    from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
    from tests.store import effects

    box = Box(tmp_path)
    rows = TeleBuilder("gw1", box.epoch, describe=lambda s: StreamSpec(), limit_bytes=9999)
    for i in range(4):
        rows.append(effects.record(i, "dev", cursor=700 + i))
    assert box.commit(rows.close()[0]).cursors == {"dev": 703}
    box.crash()
    assert box.writer.cursors == {"dev": 703}
    box.restart()
    assert box.writer.cursors == {"dev": 703}


def test_start_is_as_quick_with_many_rows_waiting_as_with_few(tmp_path):
    def opening_s(rows):
        box = Box(tmp_path / str(rows), quota_bytes=1 << 30)
        (draft,) = box.telemetry(["press"], 500)
        for _ in range(rows // 500):
            box.commit([draft] * 500)
        box.crash()
        times = []
        for _ in range(3):
            box.close()
            started = time.perf_counter()
            box.open()
            times.append(time.perf_counter() - started)
        box.close()
        return min(times)

    few, many = opening_s(500), opening_s(10_000)
    assert many < 1.0
    assert many < 3 * few + 0.1


# --- files that are not our store ----------------------------------------------------------------------------------


def foreign_database(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs(x)")
    db.commit()
    db.close()


def changed(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def add_trigger(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER evil AFTER INSERT ON row2 BEGIN DELETE FROM row0; END")
    db.commit()
    db.close()


BAD_FILES = {
    "text": (lambda p: p.write_text("this is not a database\n" * 100), "corrupt"),
    "short": (lambda p: p.write_bytes(b"SQLite format 3\0"), "corrupt"),
    "magic-only": (lambda p: p.write_bytes(b"SQLite format 3\0" + bytes(4000)), "foreign"),
    "zero-bytes": (lambda p: p.write_bytes(b""), "empty"),
    "other-program": (lambda p: (p.unlink(), foreign_database(p)), "foreign"),
    "trigger": (add_trigger, "schema"),
    "garbage-first-page": (lambda p: changed(p, 100, b"\xa5" * 900), "corrupt"),
    "garbage-everywhere": (lambda p: changed(p, 100, b"\xa5" * (p.stat().st_size - 100)), "corrupt"),
    "truncated": (lambda p: os.truncate(p, 3000), "corrupt"),
    "read-version": (lambda p: changed(p, 18, b"\x09\x09"), "corrupt"),
    "page-size": (lambda p: changed(p, 16, b"\x10\x00"), "corrupt"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_file_that_is_no_store_is_moved_aside_and_kept(tmp_path, name):
    """Inputs 71 (zero bytes), 72 (text), 73 (magic only) and 77 (a trigger) of the bad inputs; durability row 5."""
    spoil, found = BAD_FILES[name]
    box = filled(tmp_path / "data")
    ended, path = box.epoch, tmp_path / "data" / "store.db"
    spoil(path)
    spoiled = path.read_bytes()
    started = time.perf_counter()
    box.open()
    assert time.perf_counter() - started < 5
    assert box.writer.found == found
    assert box.writer.start_no == 2
    assert [p.name for p in asides(tmp_path / "data")] == [f"store.db.{found}-1"]
    assert asides(tmp_path / "data")[0].read_bytes() == spoiled
    (closing,) = closings(box)
    assert (closing.closed, closing.lost) == (ended, found)
    box.commit(box.telemetry())
    box.restart()
    assert (box.writer.found, box.writer.start_no) == ("", 3)


def test_journal_that_another_program_left_is_played_back(tmp_path):
    """A cut while the file was not in WAL mode: a read-only connection refuses it until somebody has done that."""
    box = filled(tmp_path / "data", rows=5)
    path = tmp_path / "data" / "store.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN")
    db.execute("DELETE FROM row2")
    db.execute("UPDATE meta SET value = zeroblob(100000)")  # spills: the file is half changed now
    cut = {p: p.read_bytes() for p in (path, path.with_name("store.db-journal"))}
    db.close()
    for p, content in cut.items():
        p.write_bytes(content)
    box.open()
    assert (box.writer.found, box.writer.start_no) == ("", 2)
    assert len(box.waiting(2)) == 5


def test_file_whose_rows_contradict_its_index_is_moved_aside(tmp_path, monkeypatch):
    """Seen after simulated power cuts without syncs: such a start would fail for ever if it were tried again."""
    box = Box(tmp_path)
    box.commit([box.decision()])
    box.close()
    note = Note(1, box.epoch, (0, 0, 0))

    def blind(db, real=opening.recover):
        return note if asides(tmp_path) == [] else real(db)

    monkeypatch.setattr(opening, "recover", blind)
    box.open()
    assert box.writer.found == "corrupt"


def test_row_without_a_head_stops_no_start(tmp_path):
    box = filled(tmp_path)
    db = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    db.execute("UPDATE row2 SET head = NULL WHERE id = (SELECT max(id) FROM row2)")
    db.close()
    box.open()
    assert box.writer.found == ""


def test_every_new_damage_gets_a_name_of_its_own(tmp_path):
    box = filled(tmp_path)
    for _ in range(3):
        (tmp_path / "store.db").write_bytes(b"x" * 5000)
        box.open()
        box.close()
    assert [p.name for p in asides(tmp_path)] == [f"store.db.corrupt-{i}" for i in (1, 2, 3)]
    assert len(set(box.epochs)) == 4


def test_wal_of_another_store_is_not_applied(tmp_path):
    """Input 75. SQLite itself would take it, and integrity checks would call the result healthy."""
    ours = filled(tmp_path / "ours", rows=5)
    theirs = Box(tmp_path / "theirs", seed=1)
    for _ in range(5):
        theirs.commit(theirs.telemetry(["alien"]))
    before = (tmp_path / "ours" / "store.db").read_bytes()
    (tmp_path / "ours" / "store.db-wal").write_bytes((tmp_path / "theirs" / "store.db-wal").read_bytes())
    theirs.close()
    ours.open()
    assert ours.writer.found == "mismatch"
    assert (tmp_path / "ours" / "store.db.mismatch-1").read_bytes() == before
    assert (tmp_path / "ours" / "store.db-wal.mismatch-1").exists()
    assert not [row for row in ours.waiting(2) if row.segments[0].stream == "alien"]


def test_random_bytes_as_wal_change_nothing(tmp_path):
    """Input 75."""
    box = filled(tmp_path)
    (tmp_path / "store.db-wal").write_bytes(os.urandom(20_000))
    (tmp_path / "store.db-shm").write_bytes(os.urandom(32_768))
    box.open()
    assert box.writer.found == ""
    assert len(box.waiting(2)) == 3


def test_store_that_vanished_is_declared_lost(tmp_path):
    box = filled(tmp_path)
    ended = box.epoch
    (tmp_path / "store.db").unlink()
    box.open()
    (closing,) = closings(box)
    assert (box.writer.found, box.writer.start_no, closing.closed, closing.lost) == ("missing", 2, ended, "missing")


def test_start_number_survives_the_loss_of_either_copy(tmp_path):
    box = filled(tmp_path)
    for _ in range(3):
        box.open()
        box.close()
    (tmp_path / "store.id").unlink()
    box.open()
    assert (box.writer.found, box.writer.start_no) == ("", 5)
    box.close()
    (tmp_path / "store.db").unlink()
    box.open()
    assert box.writer.start_no == 6
    box.close()
    (tmp_path / "store.id").write_bytes(b"\0garbage")
    box.open()
    assert (box.writer.found, box.writer.start_no) == ("", 7)


def test_start_cut_off_before_the_database_knew_costs_only_a_number(tmp_path):
    box = filled(tmp_path)
    identity = read_identity(tmp_path / "store.id")
    ahead = Identity(identity.store, identity.start_no + 1, "01KNEVERCOMMITTED000000000")
    (tmp_path / "store.id").write_bytes(msgspec.json.encode(ahead))
    ended = box.epoch
    box.open()
    assert (box.writer.found, box.writer.start_no) == ("", 3)
    assert [c.closed for c in closings(box)] == [ended]


def test_damaged_file_is_left_while_running_and_its_epoch_goes_on(tmp_path):
    box = filled(tmp_path)
    box.open()
    box.commit(box.telemetry())
    epoch, number = box.epoch, box.writer.start_no
    box.writer.give_up_file("database disk image is malformed")
    assert box.writer.reopen() is None
    assert (box.writer.epoch, box.writer.start_no) == (epoch, number)
    assert [p.name for p in asides(tmp_path)] == ["store.db.corrupt-1"]
    assert box.waiting(2) == []
    box.commit(box.telemetry())
    assert [(s.first, s.last) for s in box.waiting(2)[0].segments] == [(10, 19)]
    box.restart()
    assert box.writer.found == ""


def test_newer_schema_stops_the_start_and_leaves_the_file(tmp_path):
    """Input 76."""
    box = filled(tmp_path)
    changed(tmp_path / "store.db", 60, (database.SCHEMA_VERSION + 1).to_bytes(4, "big"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(Fatal) as refused:
        box.open()
    assert "newer agent" in refused.value.message
    assert refused.value.hint
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["store.db", "store.db-wal"])
def test_link_in_place_of_the_store_is_refused(tmp_path, name):
    """Input 78."""
    box = filled(tmp_path / "data")
    path, victim = tmp_path / "data" / name, tmp_path / "victim"
    victim.write_bytes(b"precious")
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    with pytest.raises(Fatal):
        box.open()
    path.unlink()
    path.hardlink_to(victim)
    with pytest.raises(Fatal):
        box.open()
    assert victim.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_file_of_another_user_is_refused(tmp_path):
    """Input 78."""
    box = filled(tmp_path)
    os.chown(tmp_path / "store.db", 65534, 65534)
    with pytest.raises(Fatal) as refused:
        box.open()
    assert "65534" in refused.value.message


def test_second_agent_on_the_same_directory_is_refused_by_name(tmp_path):
    box = Box(tmp_path)
    with pytest.raises(Fatal) as refused:
        Box(tmp_path)
    assert str(os.getpid()) in refused.value.message
    box.close()
    Box(tmp_path).close()


def test_lock_goes_with_its_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tests.store.box import Box;"
        "box = Box(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "open\n"
    with pytest.raises(Fatal):
        Box(tmp_path)
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    Box(tmp_path).close()


@pytest.mark.parametrize("quota", [0, 1000, 512 * 1024 - 1])
def test_quota_that_cannot_work_is_refused(tmp_path, quota):
    with pytest.raises(Fatal) as refused:
        Box(tmp_path, quota_bytes=quota)
    assert "524288" in refused.value.hint


def test_folder_that_cannot_be_made_is_retryable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Retryable):
        Box(tmp_path / "file" / "data")


def test_connection_that_could_not_be_set_up_is_not_left_open(tmp_path):
    """Left over, it shares its view of the -wal with the next one: read errors, and the end of the process."""
    path = tmp_path / "store.db"
    path.write_bytes(b"x" * 5000)
    for tried in (lambda: database.open_writer(path, Limits(1 << 20)), lambda: database.open_reader(path)):
        with pytest.raises(database.Damaged) as error:
            tried()
        held = [fd.readlink() for fd in list(Path("/proc/self/fd").iterdir()) if fd.is_symlink()]
        assert path not in held, error


def test_start_that_could_not_write_its_number_leaves_the_lock_to_the_next(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        lock = DirectoryLock(tmp_path / "store.lock")
    with pytest.raises(Fatal):
        DirectoryLock(tmp_path / "store.lock")
    lock.close()
    DirectoryLock(tmp_path / "store.lock").close()


def test_settings_hold_at_every_open(tmp_path):
    box = filled(tmp_path)
    box.open()
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 1024,
        "mmap_size": 0,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "max_page_count": 384,
        "journal_size_limit": 128 * 1024,
        "wal_autocheckpoint": 62,
        "application_id": 0x45444741,
        "user_version": 1,
    }
    assert {name: box.writer._db.one(f"PRAGMA {name}") for name in expected} == expected


def test_every_epoch_is_accounted_for_after_many_crashes(tmp_path):
    box = Box(tmp_path)
    for _ in range(10):
        box.commit(box.telemetry(["press", "tank"], 3))
        box.commit([box.decision(), box.prediction()])
        box.crash()
    box.close()
    assert_epochs_are_dense(account(tmp_path))


def test_a_start_cut_off_while_it_moved_a_damaged_store_aside_does_not_take_over_its_wal(tmp_path):
    """The database had its new name and the -wal had not: SQLite would apply it to the new database."""
    box = Box(tmp_path)
    box.commit([*box.telemetry(["old"]), box.decision()])
    wal = (tmp_path / "store.db-wal").read_bytes()
    box.close()
    (tmp_path / "store.db").rename(tmp_path / "store.db.corrupt-1")
    (tmp_path / "store.db-wal").write_bytes(wal)
    box.open()
    assert (tmp_path / "store.db-wal.corrupt-1").read_bytes() == wal
    assert [row.kind for prio in (0, 1, 2) for row in box.waiting(prio)] == ["ledger"]
    (closing,) = closings(box)
    assert (closing.closed, closing.lost) == (box.epochs[0], "missing")


def test_wal_without_a_database_is_kept_under_a_name_of_its_own(tmp_path):
    box = Box(tmp_path)
    for number in (1, 2):
        box.commit([box.decision()])
        wal = (tmp_path / "store.db-wal").read_bytes()
        box.close()
        (tmp_path / "store.db").unlink()
        (tmp_path / "store.db-wal").write_bytes(wal)
        box.open()
        assert (tmp_path / f"store.db-wal.stray-{number}").read_bytes() == wal
        assert box.writer.found == "missing"


def meta_of(directory, key, change):
    db = sqlite3.connect(directory / "store.db", isolation_level=None)
    (value,) = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    db.execute("UPDATE meta SET value = ? WHERE key = ?", (change(value), key))
    db.close()


DEEP = b'{"z":' + b"[" * 100_000 + b"}"


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b'"epoch":"01', b'"epoch":"\xb01'),
        lambda b: b.replace(b'"start_no":1', b'"start_no":9223372036854775807'),
        lambda b: b.replace(b'"start_no":1', b'"start_no":1' + b"0" * 30),
        lambda b: DEEP,
    ],
    ids=["no UTF-8", "a start too many", "a huge start", "deep"],
)
def test_small_file_that_cannot_be_read_costs_nothing_but_itself(tmp_path, change):
    filled(tmp_path)
    path = tmp_path / "store.id"
    assert change(path.read_bytes()) != path.read_bytes()
    path.write_bytes(change(path.read_bytes()))
    box = Box(tmp_path, seed=1)
    assert (box.writer.start_no, len(box.waiting(2)), asides(tmp_path)) == (2, 3, [])
    box.close()
    assert read_identity(path).start_no == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b"press", b"pr\xe5ss"),
        lambda b: DEEP,
        lambda b: b'{"newest":[1]}',
        lambda b: b'{"newest":[1,1,1%b]}' % (b"0" * 22),
        lambda b: b'{"epoch_no":1%b}' % (b"0" * 22),
        lambda b: b'{"settled":[[],[],[],[[1,2]]]}',
        lambda b: b.decode().replace("press", "pr\udce5ss").encode("utf-8", "surrogateescape"),
        lambda b: 5,
    ],
    ids=["no UTF-8", "deep", "short", "huge", "huge start", "priorities too many", "escaped", "a number"],
)
def test_note_that_cannot_be_read_moves_the_file_aside_and_the_agent_starts(tmp_path, change):
    filled(tmp_path)
    meta_of(tmp_path, "note", change)
    box = Box(tmp_path, seed=1)
    assert (box.writer.found, box.writer.offline, box.writer.start_no) == ("corrupt", "", 2)
    assert len(asides(tmp_path)) == 1
    box.close()


@pytest.mark.parametrize("column", ["name", "sql"])
def test_schema_that_is_no_text_moves_the_file_aside_and_the_agent_starts(tmp_path, column):
    filled(tmp_path)
    path = tmp_path / "store.db"
    old, new = (b"row2row2", b"row2r\xefw2") if column == "name" else (b"prio INT", b"pr\xe9o INT")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    box = Box(tmp_path, seed=1)
    assert (box.writer.offline, box.writer.start_no, len(asides(tmp_path))) == ("", 2, 1)
    box.close()


def test_count_of_starts_beyond_all_measure_in_the_file_is_damage(tmp_path):
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    db.execute("UPDATE epoch SET no = 9223372036854775807")
    db.close()
    box = Box(tmp_path, seed=1)
    assert (box.writer.found, box.writer.start_no) == ("corrupt", 2)
    box.close()
