"""Under the quota room is made by priority, evenly, and nothing goes without being declared."""

from itertools import pairwise

import pytest

from edge_agent.contract import decode
from tests.store import effects
from tests.store.accounting import Account
from tests.store.box import Box

ROW_BYTES = 12_000
"""About a thirtieth of the smallest quota's pages."""


def noisy(box, streams=("press",), **options):
    return box.telemetry(streams, 1, noise_bytes=ROW_BYTES * 2, **options)


def contents(box):
    found = Account()
    for prio in (0, 1, 2):
        for row in box.waiting(prio):
            found.add_message(decode.decode_row(row.body))
    return found


def test_quota_holds_with_the_wal_counted(tmp_path):
    box = Box(tmp_path)
    for _ in range(200):
        box.commit(noisy(box))
        assert box.database_bytes <= box.quota_bytes


def test_delivered_rows_stay_as_history_until_room_is_needed(tmp_path):
    box = Box(tmp_path)
    for _ in range(10):
        box.commit(noisy(box))
    box.deliver(box.waiting(2))
    box.commit()
    assert box.writer._db.one("SELECT count(*) FROM row2") == 10


def test_delivered_rows_go_first_and_without_a_gap(tmp_path):
    box = Box(tmp_path)
    for _ in range(10):
        box.commit(noisy(box))
    box.deliver(box.waiting(2))
    box.commit([box.prediction(ROW_BYTES * 2), box.decision(ROW_BYTES * 2)])
    kept = [(row.prio, row.id) for prio in (0, 1) for row in box.waiting(prio)]
    for _ in range(15):
        box.commit(noisy(box))
    found = contents(box)
    assert found.lost == {}
    assert [(row.prio, row.id) for prio in (0, 1) for row in box.waiting(prio)] == kept
    assert box.writer._db.one("SELECT min(id) FROM row2") > 1


def test_undelivered_telemetry_is_thinned_evenly_before_any_is_dropped(tmp_path):
    box = Box(tmp_path)
    ids = []
    while "quota" not in contents(box).reasons:
        ids = [row.id for row in box.waiting(2)]
        box.commit(noisy(box))
    assert ids[0] == 1
    assert max(b - a for a, b in pairwise(ids)) <= 8
    assert ids[-1] > 2 * len(ids)


def test_groups_are_thinned_alike(tmp_path):
    """Rows of two groups alternate: by every second id one of them would vanish."""
    box = Box(tmp_path)
    while sum(ranges.size for ranges in contents(box).lost.values()) < 20:
        box.commit(noisy(box, ("a", "b"), group=lambda stream: stream))
    lost = {stream: ranges.size for (stream, _), ranges in contents(box).lost.items()}
    assert abs(lost["a"] - lost["b"]) <= 1


def test_telemetry_goes_before_predictions_and_predictions_before_decisions(tmp_path):
    box = Box(tmp_path)
    for _ in range(5):
        box.commit([box.decision(ROW_BYTES * 2), box.prediction(ROW_BYTES * 2), *noisy(box)])
    while box.waiting(2):
        assert {stream for stream, _ in contents(box).lost} <= {"press"}
        box.commit([box.decision(ROW_BYTES * 2)])
    while box.waiting(1):
        assert {stream for stream, _ in contents(box).lost} <= {"press", "infer-bearing"}
        box.commit([box.decision(ROW_BYTES * 2)])
    for _ in range(30):
        box.commit([box.decision(ROW_BYTES * 2)])
    found = contents(box)
    assert {stream for stream, _ in found.lost} >= {"press", "infer-bearing", "decision"}
    assert 0 in found.lost["decision", box.epoch]


def test_gap_records_are_merged_rather_than_lost(tmp_path):
    """Two hundred restarts and drops later, every number of every epoch is still a row or declared."""
    box = Box(tmp_path)
    for i in range(60):
        box.commit([*noisy(box), box.decision(ROW_BYTES)])
        if i % 10 == 9:
            box.restart()
    for _ in range(100):
        box.commit([box.decision(ROW_BYTES * 2)])
    found = contents(box)
    for (stream, epoch), last in box.given.items():
        assert list(found.whole(stream, epoch)) == [(0, last)]
    assert len([row for row in box.waiting(0) if row.kind == "ledger"]) < 100
    assert set(found.closed) == set(box.epochs[:-1])


def test_thinning_many_streams_costs_little_of_what_it_frees(tmp_path):
    box = Box(tmp_path)
    streams = [f"s{i:02d}" for i in range(50)]
    while not (found := contents(box)).lost:
        for _ in range(20):
            box.commit(box.telemetry(streams, 10))
    ledger = sum(len(row.body) for row in box.waiting(0))
    bodies = [len(row.body) for row in box.waiting(2)[:50]]
    dropped_rows = found.lost["s00", box.epoch].size // 10
    assert ledger / (dropped_rows * sum(bodies) / len(bodies)) < 0.15


def test_making_room_at_the_start_does_not_take_the_closing_entrys_number(tmp_path):
    box = Box(tmp_path, quota_bytes=2 << 20)
    for _ in range(80):
        box.commit(noisy(box))
    box.quota_bytes //= 4
    box.restart()
    found = contents(box)
    assert found.lost
    assert not found.twice
    assert list(found.closed) == box.epochs[:1]


@pytest.mark.slow
def test_store_full_of_ledger_entries_still_starts_and_takes_readings(tmp_path):
    """Many restarts of many streams in a small quota: nothing is left that may go, and nothing may crash."""
    box = Box(tmp_path)
    streams = [f"stream{i:03d}" for i in range(150)]
    for _ in range(170):
        box.commit(box.telemetry(streams, 1))
        box.commit(lost=[("press", first := box.number("press"), first, "overload")])
        box.restart()
    entries = box.waiting(0)
    assert sum(2 * len(row.body) for row in entries) > box.writer.limits.max_pages * 1024 * 3 // 4
    found = contents(box)
    assert list(found.closed) == box.epochs[:-1]
    for (stream, epoch), last in box.given.items():
        assert list(found.whole(stream, epoch)) == [(0, last)]


def test_gap_records_under_pressure_are_merged_whatever_their_reasons(tmp_path):
    """Or a year of losses of alternating kinds would fill the store with the record of them."""
    box = Box(tmp_path)
    for _ in range(400):
        box.commit(lost=[("press", first := box.number("press"), first, "overload")])
        box.commit(noisy(box))
    for _ in range(60):
        box.commit([box.decision(ROW_BYTES * 2)])
    found = contents(box)
    assert list(found.whole("press", box.epoch)) == [(0, 799)]
    assert len(found.lost["press", box.epoch]) < 5
    assert set(found.reasons) == {"quota"}


def test_lowered_quota_is_reached_in_steps(tmp_path):
    """Not in one transaction that holds up everything behind it."""
    box = Box(tmp_path, quota_bytes=8 << 20)
    drafts = [box.writer.encoder.prediction(effects.prediction(box.number("infer-bearing"))) for _ in range(12_000)]
    box.commit(drafts)
    box.close()
    box.quota_bytes = 2 << 20
    box.open()
    went = []
    while (before := len(box.waiting(1))) and len(went) < 100:
        box.commit(box.telemetry(count=1))
        went.append(before - len(box.waiting(1)))
        if not went[-1]:
            break
    assert 500 < went[0] < 1500
    assert len(went) > 3
    assert box.writer._db.used_pages() <= box.writer.limits.max_pages
    assert list(contents(box).whole("infer-bearing", box.epochs[0])) == [(0, 11_999)]


def test_what_was_dropped_is_not_counted_as_waiting(tmp_path):
    box = Box(tmp_path)
    while "quota" not in contents(box).reasons:
        box.commit(noisy(box))
    (first, _), *_ = box.writer.outgoing.waiting(2)
    assert first > 1
    assert 0 <= box.waiting(2)[0].id - first < 8


@pytest.mark.parametrize("kind", ["prediction", "decision"])
def test_dead_letters_go_before_anything_that_can_still_be_delivered(tmp_path, kind):
    box = Box(tmp_path)
    for _ in range(10):
        box.commit([getattr(box, kind)(ROW_BYTES * 2)])
    prio = 1 if kind == "prediction" else 0
    for row in box.waiting(prio)[:8]:
        box.outbox.refused((prio, row.id), "0x97")
    box.commit()
    assert box.writer._db.one("SELECT count(*) FROM dead") == 8
    for _ in range(15):
        box.commit(noisy(box))
    assert box.writer._db.one("SELECT count(*) FROM dead") < 8
    assert "thinned" not in contents(box).reasons


def test_what_a_commit_says_it_declared_is_what_its_gap_records_say(tmp_path):
    box = Box(tmp_path)
    told = {}
    for i in range(60):
        committed = box.commit(noisy(box), lost=[("door", 2 * i, 2 * i, "overload")])
        for reason, count in committed.lost.items():
            told[reason] = told.get(reason, 0) + count
    assert told.pop("overload") == 60
    assert told
    declared = {}
    for row in box.waiting(0):
        for *_, first, last, reason in decode.lost(decode.decode_row(row.body)):
            declared[reason] = declared.get(reason, 0) + last - first + 1
    assert declared == {"overload": 60, **told}
