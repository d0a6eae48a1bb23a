"""A damaged store, left behind: the agent is live at once, and what is whole comes over under its own numbers."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from edge_agent.contract import decode
from edge_agent.store.alarms import Alarms
from edge_agent.store.aside import KEPT, aside_wal, asides
from edge_agent.store.database import Damaged
from edge_agent.store.identity import IDENTITY, read_identity
from edge_agent.store.salvaging import Salvaging
from tests.store.accounting import Account, account
from tests.store.box import Box
from tests.store.test_body import running, wait_until

QUOTA = 16 << 20
PAGE = 1024
NO_MODULE = "No module named tests.no_such_module"


def filled(folder, rows=60, seed=0):
    """A store with rows that wait, some that were delivered, and a -wal."""
    box = Box(folder, quota_bytes=QUOTA, seed=seed)
    for i in range(rows):
        box.commit(box.telemetry(["press", "tank"], 10, 300 if i % 3 else 2000))
        if i % 5 == 0:
            box.commit([box.decision(), box.prediction()])
    box.deliver(box.waiting(2)[:10])
    box.commit()
    return box


def cut_off(box, spoil):
    """As a power cut leaves it, with the file spoiled meanwhile."""
    box.writer._db.checkpoint()  # or the -wal would mend the page
    kept = box.directory.with_name("kept")
    shutil.copytree(box.directory, kept)
    box.close()
    shutil.rmtree(box.directory)
    kept.rename(box.directory)
    (box.directory / "store.db-shm").unlink(missing_ok=True)
    spoil(box.directory / "store.db")


def take_over(box, salvaging, most=None, timeout_s=30):
    """What the store's thread does; at most so many pieces."""
    end_s = time.monotonic() + timeout_s
    while box.writer.salvaging and time.monotonic() < end_s and most != 0:
        piece = salvaging.next_piece(box.writer.salvaging, box.writer.taken)
        if piece is None:
            assert salvaging.due(box.writer.salvaging)
            time.sleep(0.01)
            continue
        if piece.taken != box.writer.taken:
            box.writer.take_over(piece)
        if piece.taken.finished:
            box.writer.finished(piece.taken.name)
        salvaging.taken_over()
        most = None if most is None else most - 1
    return not box.writer.salvaging


def leave_if_damaged(box):
    """Reading and writing find what the start did not; what the store's thread does then."""
    damage = ""
    try:
        for prio in (0, 1, 2):
            box.waiting(prio)
        box.commit()
    except Damaged as error:
        damage = error.message
    if damage or box.writer.outgoing.damage:
        box.writer.give_up_file(damage or box.writer.outgoing.damage)
        box.writer.reopen()
        assert take_over(box, Salvaging(box.directory))
        box.commit()


def schema_gone(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 900)


def delivered_from(box):
    found = Account()
    for prio in (0, 1, 2):
        for row in box.waiting(prio):
            found.add_message(decode.decode_row(row.body))
            assert row.segments[0].epoch == row.epoch
    return found


def test_rows_of_a_damaged_store_come_over_under_their_own_numbers(tmp_path):
    """Durability row 5; input 74: live in under five seconds, nothing lost that is whole."""
    box = filled(tmp_path / "data")
    wanted = {
        (s.stream, s.epoch, s.first): row.body for p in (0, 1, 2) for row in box.waiting(p) for s in row.segments
    }
    old, given = box.epoch, dict(box.given)
    cut_off(box, schema_gone)
    started = time.monotonic()
    box.open()
    assert time.monotonic() - started < 5
    assert (box.writer.found, box.writer.salvaging) == ("corrupt", ["store.db.corrupt-1"])
    box.commit(box.telemetry())
    salvaging = Salvaging(box.directory)
    assert take_over(box, salvaging)
    rows = {(s.stream, s.epoch, s.first): row.body for p in (0, 1, 2) for row in box.waiting(p) for s in row.segments}
    assert wanted.items() <= rows.items()
    found = delivered_from(box)
    assert not found.twice
    assert not found.lost
    assert found.closed[old].last == {stream: last for (stream, epoch), last in given.items() if epoch == old}
    assert list(found.rows["press", old]) == [(100, 599)]
    box.restart()
    assert (box.writer.found, box.writer.salvaging) == ("", [])
    assert list(delivered_from(box).rows["press", old]) == [(100, 599)]
    box.close()


def test_salvage_killed_at_any_moment_goes_on_and_gives_nothing_twice(tmp_path):
    box = filled(tmp_path / "data", rows=400)
    old = box.epoch
    cut_off(box, schema_gone)
    box.open()
    for _ in range(2):
        salvaging = Salvaging(box.directory)
        assert not take_over(box, salvaging, most=1)
        os.kill(salvaging._child.pid, signal.SIGKILL)
        salvaging.close()
        cut_off(box, lambda path: None)
        box.open()
        assert box.writer.salvaging == ["store.db.corrupt-1"]
    assert take_over(box, Salvaging(box.directory))
    box.close()
    found = account(box.directory)
    assert list(found.rows["press", old]) == [(100, 3999)]
    assert not found.twice


def test_child_that_fails_is_given_up_until_the_next_start(tmp_path):
    box = filled(tmp_path / "data", rows=5)
    cut_off(box, schema_gone)
    box.open()
    salvaging = Salvaging(box.directory, "tests.no_such_module")
    end_s = time.monotonic() + 20
    while salvaging.due(box.writer.salvaging) and time.monotonic() < end_s:
        assert salvaging.next_piece(box.writer.salvaging, box.writer.taken) is None
    last_words = f"{sys.executable}: {NO_MODULE}"
    assert salvaging.given_up == {"store.db.corrupt-1": f"it ended with exit code 1, last words: {last_words}"}
    box.commit(box.telemetry())
    box.restart()
    assert take_over(box, Salvaging(box.directory))
    box.close()


def test_salvage_that_was_given_up_is_told_with_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.store.body.Salvaging", lambda folder: Salvaging(folder, "tests.no_such_module"))
    cut_off(filled(tmp_path / "data", rows=5), schema_gone)
    told = []
    with running(tmp_path / "data", interval_ns=20_000_000) as box:
        watch = Alarms(box.writer.path, box.body, lambda *said: told.append(said))
        watch.turn()
        assert wait_until(lambda: box.body.given_up, 20)
        watch.turn()
        watch.turn()
    ((part, up, why),) = told
    assert (part, up) == ("store.salvage", False)
    assert "store.db.corrupt-1 (it ended with exit code 1, last words:" in why
    assert f"{NO_MODULE}) could not be taken over" in why


def test_salvage_knows_no_secrets_and_yields_to_others(tmp_path, monkeypatch):
    monkeypatch.setenv("MQTT_PASSWORD", "hush")
    box = filled(tmp_path / "data", rows=400)
    cut_off(box, schema_gone)
    box.open()
    salvaging = Salvaging(box.directory)
    assert not take_over(box, salvaging, most=1)
    assert b"hush" not in Path(f"/proc/{salvaging._child.pid}/environ").read_bytes()
    assert os.getpriority(os.PRIO_PROCESS, salvaging._child.pid) > 0
    salvaging.close()
    box.close()


def test_store_that_is_damaged_while_it_takes_over_loses_neither(tmp_path):
    box = filled(tmp_path / "data", rows=400)
    first = box.epoch
    cut_off(box, schema_gone)
    box.open()
    second = box.epoch
    box.commit(box.telemetry(count=3))
    salvaging = Salvaging(box.directory)
    take_over(box, salvaging, most=1)
    salvaging.close()
    cut_off(box, schema_gone)
    box.open()
    assert box.writer.salvaging == ["store.db.corrupt-1", "store.db.corrupt-2"]
    assert take_over(box, Salvaging(box.directory))
    found = delivered_from(box)
    assert list(found.rows["press", first]) == [(100, 3999)]
    assert list(found.rows["press", second]) == [(0, 2)]
    box.close()


def test_wal_of_another_store_costs_no_row_of_the_file(tmp_path):
    """Input 75."""
    box, alien = filled(tmp_path / "data"), Box(tmp_path / "alien", seed=9)
    ours = box.epoch
    alien.commit(alien.telemetry(["alien"]))
    wal = (tmp_path / "alien" / "store.db-wal").read_bytes()
    box.close()
    (tmp_path / "data" / "store.db-wal").write_bytes(wal)
    box.open()
    assert box.writer.found in ("mismatch", "corrupt")
    assert take_over(box, Salvaging(box.directory))
    found = delivered_from(box)
    assert list(found.rows["press", ours]) == [(100, 599)]
    assert ("alien", alien.epoch) not in found.rows
    alien.close()
    box.close()


def test_file_of_another_store_gives_nothing(tmp_path):
    box, alien = filled(tmp_path / "data", rows=3), filled(tmp_path / "alien", rows=3, seed=9)
    alien.close()
    box.close()
    shutil.copy(tmp_path / "alien" / "store.db", tmp_path / "data" / "store.db")
    box.open()
    assert box.writer.found == "mismatch"
    assert take_over(box, Salvaging(box.directory))
    assert not box.waiting(2)
    box.close()


def test_databases_moved_aside_are_bounded(tmp_path):
    box = filled(tmp_path, rows=2)
    box.close()
    for _ in range(KEPT + 3):
        (tmp_path / "store.db").write_bytes(b"x" * 5000)
        box.open()
        box.close()
    assert [p.name for p in asides(tmp_path)] == [f"store.db.corrupt-{i}" for i in range(4, 8)]
    assert not any(aside_wal(p).exists() for p in asides(tmp_path))
    box.open()
    assert take_over(box, Salvaging(tmp_path))
    assert read_identity(tmp_path / IDENTITY).jobs == ()
    box.close()


def flip(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def page(data, rng, content):
    at = rng.randrange(len(data) // PAGE) * PAGE
    data[at : at + PAGE] = content


CAMPAIGN = {
    "bit-flipped": flip,
    "page-zeroed": lambda data, rng: page(data, rng, bytes(PAGE)),
    "page-of-garbage": lambda data, rng: page(data, rng, rng.randbytes(PAGE)),
    "truncated": lambda data, rng: data.__delitem__(slice(rng.randrange(len(data)), None)),
    "foreign-file": lambda data, rng: data.__setitem__(slice(None), rng.randbytes(len(data))),
}


@pytest.mark.parametrize("runs", [3, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", [*CAMPAIGN, "foreign-wal"])
def test_damage_of_every_kind(tmp_path, kind, runs):
    """Durability row 5; line 4: live in under 5 s, 99 % of the rows outside the damage, nothing wrong delivered."""
    source = filled(tmp_path / "source")
    rows = [row for prio in (0, 1, 2) for row in source.waiting(prio)]
    wanted = {(s.stream, s.epoch, s.first): row.body for row in rows for s in row.segments}
    alien = Box(tmp_path / "alien", seed=9)
    source.close()
    slowest_s, worst = 0.0, 0
    for run in range(runs):
        rng = random.Random(f"{kind}{run}")
        box = Box.__new__(Box)
        box.__dict__.update(source.__dict__, directory=tmp_path / f"run{run}", rng=random.Random(run), epochs=[])
        shutil.copytree(tmp_path / "source", box.directory)
        path = box.directory / "store.db"
        data = bytearray(path.read_bytes())
        if kind == "foreign-wal":
            for _ in range(rng.randrange(1, 5)):
                alien.commit(alien.telemetry(["alien"]))
            shutil.copy(tmp_path / "alien" / "store.db-wal", box.directory / "store.db-wal")
        else:
            CAMPAIGN[kind](data, rng)
            path.write_bytes(data)
        started = time.monotonic()
        box.open()
        slowest_s = max(slowest_s, time.monotonic() - started)
        box.commit(box.telemetry(["live"]))
        assert take_over(box, Salvaging(box.directory))
        leave_if_damaged(box)
        given = {
            (s.stream, s.epoch, s.first): row.body for p in (0, 1, 2) for row in box.waiting(p) for s in row.segments
        }
        wrong = [key for key, body in given.items() if wanted.get(key, body) != body or key[0] == "alien"]
        assert not wrong, (kind, run)
        missing = sum(key not in given for key in wanted)
        if kind not in ("truncated", "foreign-file"):
            worst = max(worst, missing)
            assert missing <= 0.01 * len(wanted) + 6, (kind, run)
        box.close()
        shutil.rmtree(box.directory)
    alien.close()
    print(f"{kind}: {runs} runs, slowest start {slowest_s:.2f} s, at most {worst} of {len(wanted)} segments missing")
    assert slowest_s < 5
