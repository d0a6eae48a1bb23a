"""A process that was killed said where its streams stood: a last row that somebody took away meanwhile is missed."""

import sqlite3

import pytest

from edge_agent.store.gaps import GapSet
from tests.store.accounting import account, assert_epochs_are_dense
from tests.store.box import Box


def take_the_last_row(directory):
    """As another program would, of telemetry."""
    db = sqlite3.connect(directory / "store.db", isolation_level=None)
    db.execute("DELETE FROM row2 WHERE id = (SELECT max(id) FROM row2)")
    db.close()


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "store", witness=tmp_path / "told")
    for _ in range(3):
        box.commit(box.telemetry(["press", "tank"], 10))
    return box


def closing(box):
    epoch = box.epochs[-2]
    box.close()
    return account(box.directory).closed[epoch]


def test_last_row_taken_away_after_a_kill_is_missed(box):
    box.crash(take_the_last_row)
    assert closing(box).last == {"press": 29, "tank": 29}
    assert list(account(box.directory).whole("press", box.epochs[-2])) == [(0, 19)]


def test_all_rows_taken_away_after_a_kill_are_missed(box):
    box.crash(lambda directory: [take_the_last_row(directory) for _ in range(3)])
    assert closing(box).last == {"press": 29, "tank": 29}


def test_kill_with_nobody_at_it_misses_nothing(box):
    box.commit(lost=[("press", 30, 39, "overload")])
    box.crash()
    box.commit(box.telemetry(["press"], 10))
    box.crash()
    box.close()
    found = account(box.directory)
    assert_epochs_are_dense(found)
    assert found.closed[box.epochs[0]].last == {"press": 39, "tank": 29, "ledger": 0}


def test_database_that_is_gone_is_missed_with_all_its_numbers(box):
    box.crash(lambda directory: [path.unlink() for path in directory.glob("store.db*")])
    end = closing(box)
    assert (end.last, end.lost) == ({"press": 29, "tank": 29}, "missing")


@pytest.mark.parametrize("spoil", [
    lambda told: told.unlink(),
    lambda told: told.write_bytes(told.read_bytes().replace(b"29", b"39", 1)),
    lambda told: told.write_bytes(told.read_bytes()[:-12]),
    lambda told: told.write_bytes(b"\xff" * 100),
    lambda told: (told.unlink(), told.mkdir()),
], ids=["gone", "another number", "cut off", "noise", "a folder"])  # fmt: skip
def test_word_that_cannot_be_relied_on_claims_nothing(box, spoil):
    spoil(box.witness)
    box.crash(take_the_last_row)
    assert closing(box).last == {"press": 19, "tank": 19}


def test_word_of_another_epoch_claims_nothing(box):
    told = box.witness.read_bytes()
    box.restart()
    box.commit(box.telemetry(["press"], 5))
    box.witness.write_bytes(told)
    box.crash()
    assert closing(box).last["press"] == 4


def spoiled(directory):
    with (directory / "store.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 900)
    (directory / "store.db-wal").unlink()


@pytest.mark.parametrize("spoil", [spoiled, lambda directory: (directory / "store.db").unlink()])
def test_place_of_a_device_outlives_a_database_that_is_damaged_when_the_agent_starts(box, spoil):
    """Else what the device drops meanwhile is missed by nobody."""
    place = GapSet()
    place.cursors["press"] = (29, 4711)
    box.writer.commit([], place)
    box.crash(spoil)
    assert box.writer.found in ("corrupt", "missing")
    assert box.writer.cursors == {"press": 4711}


def test_place_of_a_device_is_what_a_whole_database_says(box):
    place = GapSet()
    place.cursors["press"] = (29, 4711)
    box.writer.commit([], place)
    box.witness.write_bytes(b"")
    box.crash()
    assert box.writer.cursors == {"press": 4711}
