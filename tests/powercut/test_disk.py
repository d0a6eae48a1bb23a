"""The model of the disk: what a cut may leave of a file that was written with more or less care."""

import random
import subprocess
import sys

import pytest

from tests.powercut.disk import STYLES, Disk, taken
from tests.powercut.recorder import ROOT, environment, read_log

WITHOUT_SYNC = "p.write_bytes(new)"
WITHOUT_FOLDER_SYNC = """
with open(beside, "wb") as f:
    f.write(new); f.flush(); os.fsync(f.fileno())
os.rename(beside, p)
"""
RENAME_ONLY = """
beside.write_bytes(new); os.rename(beside, p)
"""
CAREFUL = WITHOUT_FOLDER_SYNC + "fd = os.open(p.parent, os.O_RDONLY); os.fsync(fd); os.close(fd)\n"
OLD, NEW = b"old" * 700, b"new" * 700


def replaced(folder, library, program, *, strict):
    """All contents that a file can have after it was replaced, and the power cut when the program was done."""
    root, log = folder / "root", folder / "log"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_bytes(OLD)
    head = f"import os, pathlib; p = pathlib.Path({str(root)!r}) / 'd' / 'file'; beside = p.with_suffix('.new')\n"
    before = taken(root)
    subprocess.run(
        [sys.executable, "-c", f"{head}new = b'new' * 700\n{program}"],
        env=environment(library, root, log),
        cwd=ROOT,
        check=True,
    )
    disk = Disk(strict=strict, image=before)
    for record in read_log(log):
        disk.do(record)
    assert disk.seen() == taken(root)
    rng = random.Random(1)
    return {disk.image(style, rng).get("d/file") for style in STYLES for _ in range(60)}


@pytest.mark.parametrize("strict", [False, True], ids=["ordered", "strict"])
def test_file_replaced_with_care_is_the_new_one(box_folder, recorder, strict):
    assert replaced(box_folder, recorder, CAREFUL, strict=strict) == {NEW}


@pytest.mark.parametrize("strict", [False, True], ids=["ordered", "strict"])
def test_file_renamed_and_not_named_durably_is_old_or_new(box_folder, recorder, strict):
    assert replaced(box_folder, recorder, WITHOUT_FOLDER_SYNC, strict=strict) == {OLD, NEW}


@pytest.mark.parametrize("strict", [False, True], ids=["ordered", "strict"])
def test_file_renamed_without_a_sync_can_be_empty(box_folder, recorder, strict):
    left = replaced(box_folder, recorder, RENAME_ONLY, strict=strict)
    assert {OLD, NEW, b""} < left


def test_file_written_in_place_can_be_any_mixture_of_sectors(box_folder, recorder):
    left = replaced(box_folder, recorder, WITHOUT_SYNC, strict=False)
    assert {OLD, NEW, b""} < left
    assert any(set(content[512:1024]) == {0} and content[:512] == NEW[:512] for content in left)
