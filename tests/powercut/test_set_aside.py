"""The power goes while a damaged store is moved aside: it is kept whole, and its rows get into no other."""

import random
import shutil
import sqlite3
import subprocess
import sys

import msgspec
import pytest

from edge_agent.store.opening import asides
from tests.powercut.disk import STYLES, Disk, lay, taken
from tests.powercut.recorder import ROOT, Op, environment, read_log
from tests.powercut.verdict import Mark
from tests.store.accounting import account
from tests.store.box import Box


def damaged(folder):
    """A store that was noted as damaged; half of its rows are in the -wal only. Returns its image and its epoch."""
    box = Box(folder, seed=1)
    for _ in range(3):
        box.commit([box.decision(), *box.telemetry()])
    box.restart()
    box.commit([box.decision()])
    box.writer.give_up_file("a page that cannot be read")
    image = taken(folder)
    box.close()
    shutil.rmtree(folder)
    assert image["store.db-wal"]
    return {f"store/{name}": content for name, content in image.items()} | {"store": None}, box.epoch


def recorded(folder, library, image):
    root, log = folder / "root", folder / "log"
    root.mkdir()
    lay(image, root)
    subprocess.run(
        [sys.executable, "-m", "tests.powercut.set_aside", root / "store"],
        env=environment(library, root, log), cwd=ROOT, check=True,
    )  # fmt: skip
    return read_log(log)


def decisions_in(aside, folder):
    """In a copy of a database that was moved aside, its -wal applied."""
    copy = folder / "copy.db"
    shutil.copyfile(aside, copy)
    wal = aside.with_name(aside.name.replace("store.db", "store.db-wal", 1))
    if wal.exists():
        shutil.copyfile(wal, folder / "copy.db-wal")
    db = sqlite3.connect(copy)
    try:
        return db.execute("SELECT count(*) FROM row0 WHERE kind = 'decision'").fetchone()[0]
    finally:
        db.close()


def judge(store, folder, before, promised):
    """One more start on the image: nothing of the damaged store is lost, or in the new one."""
    box = Box(store, seed=3)
    found = account(store)
    assert before not in {message.epoch for _, message in found.stored.values()}
    assert sorted(decisions_in(aside, folder) for aside in asides(store))[-1] == 4
    for epoch, last in promised.items():
        lost = epoch not in found.epochs
        assert not lost, f"{epoch} was promised"
        assert all(list(found.whole(stream, epoch)) == [(0, n)] for stream, n in last.items())
    assert box.epoch not in promised
    box.close()


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True], ids=["ordered", "strict"])
def test_a_damaged_store_is_kept_whole_wherever_the_power_goes(box_folder, recorder, strict):
    image, before = damaged(box_folder / "store")
    records = recorded(box_folder, recorder, image)
    disk, promised, rng = Disk(strict=strict, image=image), {}, random.Random(1)
    for record in records:
        disk.do(record)
        if record.op == Op.MARK:
            mark = msgspec.msgpack.decode(record.first, type=Mark)
            promised[mark.epoch] = mark.last
        for style in STYLES:
            folder = box_folder / "image"
            folder.mkdir()
            lay(disk.image(style, rng), folder)
            judge(folder / "store", folder, before, promised)
            shutil.rmtree(folder)
