"""What a damaged store still gives: every whole row outside the damage, and a declaration of everything else."""

import os
import random
import shutil
import types

import pytest

from edge_agent.contract import decode
from edge_agent.store.pages import PageFile
from edge_agent.store.ranges import Ranges
from edge_agent.store.salvage import Salvage
from tests.store.box import Box

PAGE = 1024


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A store of two epochs with rows that were delivered, trimmed rows, losses and a -wal, copied in the middle."""
    folder = tmp_path_factory.mktemp("original")
    box = Box(folder / "data", quota_bytes=16 << 20)
    for i in range(60):
        box.commit(box.telemetry(["press", "tank"], 10, 300 if i % 3 else 2000))
        if i % 5 == 0:
            box.commit([box.decision(), box.prediction()])
        if i == 30:
            box.deliver(box.waiting(2)[:12])
            box.commit(lost=[("press", box.number("press"), box.number("press"), "overload")])
            box.restart()
    box.deliver(box.waiting(2)[15:20])
    box.commit()
    for name in ("store.db", "store.db-wal"):
        shutil.copy(folder / "data" / name, folder / name)
    wanted = [row for prio in (0, 1, 2) for row in box.waiting(prio)]
    given = dict(box.given)
    box.close()
    return folder, {(row.prio, row.id): row for row in wanted}, given


def copied(original, folder):
    for name in ("store.db", "store.db-wal"):
        shutil.copy(original[0] / name, folder / name)
    return folder / "store.db", folder / "store.db-wal"


def check(salvage, wanted, given, *, losing):
    """Rows as they were, few missing, and each number of a missing one declared."""
    rows = {(row.prio, row.id): row for row in salvage.rows()}
    assert set(rows) <= set(wanted)
    lost = {}
    for stream, epoch, first, last, reason in salvage.lost():
        assert reason == "corrupt"
        assert last <= given.get((stream, epoch), last)
        lost.setdefault((stream, epoch), Ranges()).add(first, last)
    for place, row in wanted.items():
        if place in rows:
            assert (rows[place].body, rows[place].epoch) == (row.body, row.epoch)
            continue
        for s in row.segments:
            assert not list(lost.get((s.stream, s.epoch), Ranges()).holes(s.first, s.last)), (place, s)
    assert len(wanted) - len(rows) <= losing
    return rows, lost


def test_whole_store_gives_all_that_waits_and_declares_nothing(original, tmp_path):
    salvage = Salvage(*copied(original, tmp_path))
    rows, lost = check(salvage, *original[1:], losing=0)
    assert len(rows) == len(original[1])
    assert not lost
    salvage.close()


def test_rows_come_by_priority_and_go_on_behind_any_of_them(original, tmp_path):
    salvage = Salvage(*copied(original, tmp_path))
    places = [(row.prio, row.id) for row in salvage.rows()]
    assert places == sorted(places)
    assert [(row.prio, row.id) for row in salvage.rows(places[7])] == places[8:]
    salvage.close()


def flip(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero(data, rng):
    at = rng.randrange(len(data) // PAGE) * PAGE
    data[at : at + PAGE] = bytes(PAGE)


def garbage(data, rng):
    at = rng.randrange(len(data) // PAGE) * PAGE
    data[at : at + PAGE] = rng.randbytes(PAGE)


SPOIL = {"flip": flip, "zero": zero, "garbage": garbage}


@pytest.mark.parametrize("name", SPOIL)
@pytest.mark.parametrize("which", ["store.db", "store.db-wal"])
def test_one_damage_costs_no_row_but_those_it_hit(original, tmp_path, name, which):
    """A page holds some rows at most, a body of many pages is hit in one."""
    for seed in range(5):
        rng = random.Random(f"{name}{which}{seed}")
        paths = copied(original, tmp_path)
        data = bytearray((tmp_path / which).read_bytes())
        SPOIL[name](data, rng)
        (tmp_path / which).write_bytes(data)
        salvage = Salvage(*paths)
        if which == "store.db":
            check(salvage, *original[1:], losing=4)
        else:  # an older page shows where a frame is lost, so delivered rows may come again
            assert all(decode.hashes_hold(row.body) for row in salvage.rows() if row.kind == "tele")
        salvage.close()


@pytest.mark.parametrize("page", range(1, 9))
def test_header_schema_and_roots_may_all_be_gone(original, tmp_path, page):
    paths = copied(original, tmp_path)
    with paths[0].open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(os.urandom(PAGE))
    salvage = Salvage(*paths)
    check(salvage, *original[1:], losing=4)
    salvage.close()


@pytest.mark.parametrize("kept", [0, 1, 99, 100, 1024, 40_000, 200_000])
def test_truncated_file_gives_what_is_left_of_it(original, tmp_path, kept):
    """Delivered rows may be among it: what was noted of them went with the end."""
    path, _ = copied(original, tmp_path)
    os.truncate(path, kept)
    salvage = Salvage(path, None)
    wanted = original[1]
    assert all(wanted[place].body == row.body for row in salvage.rows() if (place := (row.prio, row.id)) in wanted)
    list(salvage.lost())
    salvage.close()


def test_any_content_is_read_without_an_error(tmp_path):
    for seed in range(30):
        rng = random.Random(seed)
        path, wal = tmp_path / "x", tmp_path / "x-wal"
        pages = [bytes([13, 0, 0, 0, rng.randrange(200)]) + rng.randbytes(PAGE - 5) for _ in range(40)]
        path.write_bytes(b"".join(pages))
        wal.write_bytes(rng.randbytes(5000))
        salvage = Salvage(path, wal)
        assert list(salvage.rows()) == []
        assert not salvage.lost()
        salvage.close()


def test_pages_that_point_in_circles_cost_no_more_than_they_have_bytes(tmp_path, monkeypatch):
    """Every cell of a leaf is the same one, whose record never ends: read once, and given up at a repeat."""
    pages = 60
    size = pages * PAGE - 10
    body = b"".join((bytes([0x80 | size >> 14, 0x80 | size >> 7 & 0x7F, size & 0x7F]), b"\1"))
    local = PageFile._local_bytes(types.SimpleNamespace(page_bytes=PAGE), size, table=True)
    at = PAGE - len(body) - local - 4
    cells = (at - 8) // 2
    leaf = bytearray(PAGE)
    leaf[0], leaf[3:5] = 0x0D, cells.to_bytes(2, "big")
    leaf[8 : 8 + 2 * cells] = at.to_bytes(2, "big") * cells
    leaf[at : at + len(body)] = body
    leaf[PAGE - 4 :] = pages.to_bytes(4, "big")
    circle = pages.to_bytes(4, "big").ljust(PAGE, b"\0")
    (tmp_path / "store.db").write_bytes(bytes(PAGE) + bytes(leaf) * (pages - 2) + circle)
    read = []
    page = PageFile.page
    monkeypatch.setattr(PageFile, "page", lambda self, number: read.append(number) or page(self, number))
    salvage = Salvage(tmp_path / "store.db", None)
    salvage.close()
    assert pages < len(read) < 10 * pages
