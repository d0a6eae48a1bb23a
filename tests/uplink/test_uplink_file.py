"""Air-gapped: rows into a folder that somebody carries away."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from doubles.outbox import EPOCH
from running import GATEWAY, tele_body

from edge_agent.ports import Acked, Down, Refused, Row, Up
from edge_agent.types import SeqRange
from edge_agent.uplink import file as file_uplink
from edge_agent.uplink.file import FileUplink


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def medium(tmp_path):
    folder = tmp_path / "stick" / "edge-agent"
    folder.mkdir(parents=True)
    return folder


def row(number, prio=2, body=None):
    first = number * 10
    kind, key = (("alert", ""), None, ("tele", "all"))[prio]
    segment = SeqRange("press", EPOCH, first, first + 9)
    return Row(prio, number, kind, key, 10, EPOCH, (segment,), body or tele_body(("press",), first, 10))


def opened(medium, clock):
    uplink = FileUplink(str(medium), GATEWAY, EPOCH, monotonic=clock)
    (up,) = uplink.poll(0)
    assert isinstance(up, Up)
    return uplink


def lines(path):
    with gzip.open(path) as f:
        return [json.loads(line) for line in f]


def batches(medium):
    return sorted(medium.glob("*.jsonl.gz"))


def test_rows_are_confirmed_when_they_are_on_the_medium_and_named_in_the_manifest(medium, clock):
    uplink = opened(medium, clock)
    uplink.send(row(0))
    uplink.send(row(1))
    assert uplink.poll(0) == ()
    clock.now += file_uplink.BATCH_S
    assert uplink.poll(0) == [Acked(((2, 0), (2, 1)))]
    (path,) = batches(medium)
    assert [line["topic"] for line in lines(path)] == [GATEWAY.up("tele", "all")] * 2
    assert lines(path)[1]["body"] == json.loads(zlib.decompress(row(1).body))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (medium / "MANIFEST.sha256").read_text() == f"{digest}  {path.name}\n"


def test_standard_tools_read_and_verify_it(medium, clock):
    uplink = opened(medium, clock)
    for n in range(3):
        uplink.send(row(n))
    clock.now += 100
    uplink.poll(0)
    subprocess.run(["sha256sum", "--quiet", "-c", "MANIFEST.sha256"], cwd=medium, check=True)
    text = subprocess.run(["zcat", batches(medium)[0]], check=True, capture_output=True).stdout
    assert len(text.splitlines()) == 3


def test_an_alert_does_not_wait_a_minute(medium, clock):
    uplink = opened(medium, clock)
    uplink.send(row(0))
    uplink.send(row(1, prio=0))
    clock.now += file_uplink.URGENT_S
    assert uplink.poll(0) == [Acked(((2, 0), (0, 1)))]


def test_a_full_batch_does_not_wait_either(medium, clock):
    uplink = opened(medium, clock)
    for n in range(20):
        uplink.send(row(n, body=zlib.compress(json.dumps({"x": os.urandom(30_000).hex()}).encode())))
    assert isinstance(uplink.poll(0)[0], Acked)


def test_the_window_leaves_room_for_a_batch(medium, clock):
    (up,) = FileUplink(str(medium), GATEWAY, EPOCH, monotonic=clock).poll(0)
    assert (up.window, up.window_bytes) == (file_uplink.WINDOW, file_uplink.BATCH_BYTES)


def test_a_missing_medium_is_named_and_the_folder_is_not_made(medium, clock):
    shutil.rmtree(medium)
    uplink = FileUplink(str(medium), GATEWAY, EPOCH, monotonic=clock)
    (down,) = uplink.poll(0)
    assert isinstance(down, Down)
    assert f"mkdir {medium}" in down.reason
    assert not medium.exists()
    medium.mkdir()
    assert uplink.poll(0) == ()  # not yet
    clock.now += file_uplink.RETRY_S
    assert isinstance(uplink.poll(0)[0], Up)


def test_a_pulled_stick_confirms_nothing_and_is_found_again(medium, clock):
    uplink = opened(medium, clock)
    uplink.send(row(0))
    shutil.move(medium, medium.with_name("pulled"))
    clock.now += 100
    (down,) = uplink.poll(0)
    assert isinstance(down, Down)
    shutil.move(medium.with_name("pulled"), medium)
    clock.now += 100
    assert isinstance(uplink.poll(0)[0], Up)
    uplink.send(row(0))  # rows in flight before a Down are sent again
    clock.now += 100
    assert uplink.poll(0) == [Acked(((2, 0),))]
    assert len(batches(medium)) == 1


def test_the_reserve_stays_free(medium, clock, monkeypatch):
    uplink = opened(medium, clock)
    uplink.send(row(0))
    full = os.statvfs_result((4096, 4096, 10**6, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    clock.now += 100
    (down,) = uplink.poll(0)
    assert "full" in down.reason
    assert batches(medium) == []


def test_a_write_error_confirms_nothing(medium, clock, monkeypatch):
    uplink = opened(medium, clock)
    uplink.send(row(0))

    def fails(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    clock.now += 100
    (down,) = uplink.poll(0)
    assert "Input/output error" in down.reason
    assert not (medium / "MANIFEST.sha256").exists()


def test_a_row_is_on_the_medium_before_it_has_a_name_and_named_before_it_is_confirmed(medium, clock, monkeypatch):
    calls = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(fd):
        calls.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink().name))
        fsync(fd)

    def noted_rename(path, target):
        calls.append(("rename", path.name))
        rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    uplink = opened(medium, clock)
    uplink.send(row(0))
    clock.now += 100
    assert isinstance(uplink.poll(0)[0], Acked)
    part = batches(medium)[0].name + ".part"
    folder = ("fsync", medium.name)
    assert calls == [("fsync", part), ("rename", part), folder, ("fsync", file_uplink.MANIFEST), folder]


def test_a_file_that_was_cut_off_is_not_named_and_its_number_is_not_used_again(medium, clock):
    cut = medium / f"gw1-{EPOCH}-00000007.jsonl.gz.part"
    cut.write_bytes(b"half")
    uplink = opened(medium, clock)
    uplink.send(row(0))
    clock.now += 100
    uplink.poll(0)
    assert batches(medium)[0].name == f"gw1-{EPOCH}-00000008.jsonl.gz"
    assert cut.name not in (medium / "MANIFEST.sha256").read_text()


def test_files_that_were_carried_away_keep_their_names_for_themselves(medium, clock):
    uplink = opened(medium, clock)
    names = []
    for n in range(3):
        uplink.send(row(n))
        clock.now += 100
        uplink.poll(0)
        names += [path.name for path in batches(medium)]
        for path in batches(medium):
            path.unlink()
    assert len(set(names)) == 3


def test_a_manifest_that_was_cut_off_goes_on_on_a_new_line(medium, clock):
    (medium / "MANIFEST.sha256").write_text("0123  old-00000000.jsonl.gz\n4567  ol")
    uplink = opened(medium, clock)
    uplink.send(row(0))
    clock.now += 100
    uplink.poll(0)
    text = (medium / "MANIFEST.sha256").read_text().splitlines()
    assert text[1] == "4567  ol"
    assert text[2].endswith(batches(medium)[0].name)


def test_a_body_that_is_no_row_is_refused_and_the_others_are_written(medium, clock):
    uplink = opened(medium, clock)
    uplink.send(row(0, body=b"not deflated"))
    uplink.send(row(1))
    assert uplink.poll(0) == [Refused((2, 0), "malformed", retry=False)]
    clock.now += 100
    assert uplink.poll(0) == [Acked(((2, 1),))]


def test_the_newest_documents_lie_beside_the_batches(medium, clock):
    uplink = opened(medium, clock)
    uplink.publish_latest("health", b'{"a":1}')
    uplink.publish_latest("health", b'{"a":2}')
    uplink.poll(0)
    assert (medium / "gw1-health.json").read_bytes() == b'{"a":2}'


def test_wake_ends_the_wait(medium, clock):
    uplink = opened(medium, clock)
    uplink.wake()
    assert uplink.poll(30.0) == ()
    uplink.close()
    uplink.wake()
