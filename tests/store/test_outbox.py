"""The uplink's view: committed rows in order, checked, and what became of them kept."""

import sqlite3

import pytest

from edge_agent.contract import decode, messages
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.errors import Retryable
from edge_agent.ports import Outbox as OutboxPort
from edge_agent.store.outbox import Outbox
from edge_agent.types import ClockQuality
from tests.store import effects
from tests.store.box import Box


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "data")
    yield box
    box.close()


def damage(box, row, column="body", place=20):
    """As rot on the card does: one byte, behind everybody's back."""
    box.commit()
    db = sqlite3.connect(box.directory / "store.db", isolation_level=None)
    (content,) = db.execute(f"SELECT {column} FROM row{row.prio} WHERE id = ?", (row.id,)).fetchone()
    damaged = bytearray(content)
    damaged[place] ^= 1
    db.execute(f"UPDATE row{row.prio} SET {column} = ? WHERE id = ?", (bytes(damaged), row.id))
    db.close()


def ledger(box):
    return [decode.decode_row(row.body) for row in box.waiting(0) if row.kind == "ledger"]


def lost(box):
    return [item for m in ledger(box) if isinstance(m, messages.GapMessage) for item in decode.lost(m)]


def test_is_the_port(box):
    port: OutboxPort = box.outbox
    assert port.newest(0) == 0


def test_rows_come_oldest_first_from_after_the_given_one(box):
    for _ in range(10):
        box.commit(box.telemetry(count=2))
    assert [row.id for row in box.outbox.unacked(2, 0, 100)] == list(range(1, 11))
    assert [row.id for row in box.outbox.unacked(2, 4, 3)] == [5, 6, 7]
    assert box.outbox.unacked(2, 10, 3) == []
    assert box.outbox.newest(2) == 10
    assert (box.outbox.newest(1), box.outbox.unacked(1, 0, 10)) == (0, [])


def test_row_is_seen_only_after_its_commit_returned(box, monkeypatch):
    """Publish only what is already synced: even where SQLite would show it to another connection."""
    box.commit(box.telemetry())
    with monkeypatch.context() as patch:
        patch.setattr(box.writer.outgoing, "committed", lambda newest: None)
        box.commit(box.telemetry())
        assert [row.id for row in box.outbox.unacked(2, 0, 10)] == [1]
    box.commit(box.telemetry())
    assert [row.id for row in box.outbox.unacked(2, 0, 10)] == [1, 2, 3]


def test_one_answer_is_bounded_in_bytes(tmp_path):
    box = Box(tmp_path, quota_bytes=64 << 20)
    for _ in range(60):
        box.commit(box.telemetry(count=1, noise_bytes=160_000))
    rows = box.outbox.unacked(2, 0, 1000)
    assert 4 << 20 <= sum(len(row.body) for row in rows) < (4 << 20) + 100_000
    assert len(box.waiting(2)) == 60


def test_delivered_rows_are_not_offered_again_and_survive_restart_and_crash(box):
    for _ in range(10):
        box.commit(box.telemetry(count=1))
    rows = box.waiting(2)
    box.deliver([rows[0], rows[1], rows[7]])
    left = [row.id for row in rows if row.id not in (1, 2, 8)]
    assert [row.id for row in box.waiting(2)] == left
    box.commit(box.telemetry(count=1))
    box.crash()
    assert [row.id for row in box.waiting(2)] == [*left, 11]
    box.deliver(box.waiting(2))
    box.commit()
    box.restart()
    assert box.waiting(2) == []


def test_delivering_costs_no_row_a_write_of_its_own(box):
    """What was delivered rides in the next row, or in one note: rows are never written twice."""
    for _ in range(50):
        box.commit(box.telemetry(count=1))
    before = box.writer._db.query("SELECT id, crc, head, body FROM row2")
    box.deliver(box.waiting(2))
    box.commit(box.telemetry(count=1))
    assert box.writer._db.query("SELECT id, crc, head, body FROM row2 WHERE id <= 50") == before


def test_acknowledged_ranges_merge_over_rows_that_are_gone(tmp_path):
    """Thinning leaves holes in the ids; a drained backlog must still be one range, or the memory grows with it."""
    box = Box(tmp_path)
    for _ in range(60):
        box.commit(box.telemetry(count=1, noise_bytes=20_000))
    rows = box.waiting(2)
    ids = [row.id for row in rows]
    assert ids != list(range(ids[0], ids[-1] + 1))
    for row in sorted(rows, key=lambda row: row.id % 7):
        box.deliver([row])
    assert box.writer.outgoing.settled(2) == [(1, rows[-1].id)]


def test_live_rows_may_overtake_the_backlog(box):
    for _ in range(6):
        box.commit(box.telemetry(count=1))
    box.deliver(box.outbox.unacked(2, 4, 10))
    assert [row.id for row in box.waiting(2)] == [1, 2, 3, 4]
    assert box.writer.outgoing.settled(2) == [(5, 6)]


def test_many_ranges_are_kept_by_the_next_note(box):
    """With a row only the lowest few ranges go along."""
    for _ in range(100):
        box.commit(box.telemetry(count=1))
    box.deliver([row for row in box.waiting(2) if row.id % 2])
    box.commit()
    box.crash()
    assert [row.id for row in box.waiting(2)] == list(range(2, 101, 2))


def test_refused_row_becomes_a_dead_letter_and_a_gap(box):
    box.commit(box.telemetry(["press", "tank"], 5))
    box.commit(box.telemetry(["press"], 5))
    box.outbox.refused((2, 1), "0x99")
    assert [row.id for row in box.waiting(2)] == [2]
    box.commit()
    assert sorted(lost(box)) == [("press", box.epoch, 0, 4, "rejected"), ("tank", box.epoch, 0, 4, "rejected")]
    dead = box.writer._db.query("SELECT prio, row, code, reason, kind, key, n FROM dead")
    assert dead == [(2, 1, "0x99", "rejected", "tele", "all", 10)]
    box.crash()
    assert [row.id for row in box.waiting(2)] == [2]
    assert len(box.writer._db.query("SELECT * FROM dead")) == 1


def test_refusal_survives_a_commit_that_failed(box, monkeypatch):
    box.commit(box.telemetry())
    box.outbox.refused((2, 1), "0x99")

    def fails(*_):
        raise Retryable("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(box.writer._tables, "insert", fails)
        with pytest.raises(Retryable):
            box.commit()
    box.commit()
    assert lost(box) == [("press", box.epoch, 0, 9, "rejected")]


@pytest.mark.parametrize("place", [0, 1, 10, 50, -1, -3])
def test_damaged_body_is_never_sent_and_its_exact_loss_is_declared(box, place):
    for _ in range(3):
        box.commit(box.telemetry(["press", "tank"], 5))
    box.commit([box.prediction()])
    damage(box, box.waiting(2)[1], place=place)
    damage(box, box.waiting(1)[0], place=place)
    assert [row.id for row in box.waiting(2)] == [1, 3]
    assert box.waiting(1) == []
    box.commit()
    assert sorted(lost(box)) == [
        ("infer-bearing", box.epoch, 0, 0, "corrupt"),
        ("press", box.epoch, 5, 9, "corrupt"),
        ("tank", box.epoch, 5, 9, "corrupt"),
    ]


def test_damaged_head_is_declared_from_the_body(box):
    box.commit(box.telemetry(["press"], 5))
    damage(box, box.waiting(2)[0], column="head")
    assert box.waiting(2) == []
    box.commit()
    assert lost(box) == [("press", box.epoch, 0, 4, "corrupt")]


def test_row_damaged_twice_over_is_counted(box):
    box.commit(box.telemetry(["press"], 5))
    (row,) = box.waiting(2)
    damage(box, row, column="head")
    damage(box, row)
    assert box.waiting(2) == []
    box.commit()
    assert (lost(box), box.writer.undeclared) == ([], 1)


@pytest.mark.parametrize(("column", "value"), [("kind", "infer"), ("key", "other"), ("n", 7), ("epoch", 99)])
def test_row_with_a_damaged_label_is_not_sent(box, column, value):
    box.commit(box.telemetry(["press"], 5))
    db = sqlite3.connect(box.directory / "store.db", isolation_level=None)
    db.execute(f"UPDATE row2 SET {column} = ?", (value,))
    db.close()
    assert box.waiting(2) == []


@pytest.mark.parametrize("column", ["body", "head"])
def test_damaged_loss_is_still_declared(box, column):
    first, last = box.number("press"), box.number("press")
    box.commit(lost=[("press", first, last, "device")])
    damage(box, box.waiting(0)[0], column=column)
    assert lost(box) == [("press", box.epoch, 0, 1, "device")]
    (row,) = box.waiting(0)
    assert (row.segments[0].stream, row.segments[0].first, row.kind) == ("ledger", 0, "ledger")


def test_rows_of_earlier_epochs_keep_their_epoch(box):
    box.commit(box.telemetry(count=1))
    before = box.epoch
    box.restart()
    box.commit(box.telemetry(count=1))
    assert [(row.epoch, row.segments[0].epoch) for row in box.waiting(2)] == [(before,) * 2, (box.epoch,) * 2]


def test_guessed_time_is_set_right_once_the_clock_is_known(tmp_path):
    box = Box(tmp_path)
    rows = TeleBuilder("gw1", box.epoch, describe=lambda s: StreamSpec(), limit_bytes=9999)
    rows.append(effects.record(0, stamp=effects.at(5, ClockQuality.GUESSED)))
    rows.append(effects.record(1, stamp=effects.at(6, ClockQuality.SYNCED)))
    box.commit(rows.close()[0])
    offsets = {}
    outbox = Outbox(box.writer.path, box.writer.outgoing, offset_ms=offsets.get)
    as_stored = [row.body for row in box.waiting(2)]
    assert [row.body for row in outbox.unacked(2, 0, 10)] == as_stored
    offsets["8f14e45f"] = 1_800_000_000_000
    guessed, synced = (decode.decode_row(row.body) for row in outbox.unacked(2, 0, 10))
    assert (guessed.t0, guessed.tq) == (guessed.m0 + 1_800_000_000_000, "synced")
    assert synced == decode.decode_row(as_stored[1])
    outbox.close()


def test_row_that_was_given_up_and_not_declared_yet_is_not_taken_for_delivered_after_a_restart(tmp_path):
    """It would be neither delivered nor declared: the end, or a power cut, comes before the next commit."""
    box = Box(tmp_path)
    for _ in range(3):
        box.commit(box.telemetry())
    first, second, third = box.waiting(2)
    box.deliver([first, third])
    box.outbox.refused((2, second.id), "payload")
    box.restart()
    assert [row.id for row in box.waiting(2)] == [second.id]


def flip(box, row, column, content):
    """Rot within a text: the same length, and no UTF-8."""
    box.commit()
    db = sqlite3.connect(box.directory / "store.db", isolation_level=None)
    db.execute(f"UPDATE row{row.prio} SET {column} = CAST(? AS TEXT) WHERE id = ?", (content, row.id))
    db.close()


@pytest.mark.parametrize(
    ("column", "content"), [("kind", b"\xf4ele"), ("key", b"\xe1ll"), ("head", b"\xf0"), ("body", b"text")]
)
def test_row_whose_texts_are_no_texts_is_put_aside_and_declared_and_the_others_go_out(box, column, content):
    for _ in range(3):
        box.commit(box.telemetry(count=2))
    first, second, third = box.waiting(2)
    flip(box, second, column, content)
    assert [row.id for row in box.outbox.unacked(2, 0, 10)] == [first.id, third.id]
    box.commit()
    assert lost(box) == [("press", box.epoch, 2, 3, "corrupt")]
    db = sqlite3.connect(box.directory / "store.db")
    db.text_factory = bytes
    assert db.execute(f"SELECT row, {column} FROM dead").fetchall() == [(second.id, content)]
    db.close()
    box.restart()
    assert [row.id for row in box.waiting(2)] == [first.id, third.id]
