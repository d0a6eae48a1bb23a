"""What was recorded is replayed exactly, and a damaged log says where."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.decisions import Remembered
from edge_agent.errors import Rejected
from edge_agent.event_log import Header, Recorder, Ring, header, read_log
from edge_agent.rules.machine import Phase
from edge_agent.types import Command, Event, HealthChange, Lost, Receipt
from tests.engine.sites import at, prediction, reading, served, tick

EVENTS = [
    tick(0), served(0.5), reading(1, temp=float("inf"), n=2**63 - 1, s="é", b=True, none=None), prediction(2, 0.5),
    prediction(3, None), HealthChange("motor", False, at(4), "gone", True), Lost("motor", 3, "overload", at(5)),
    Receipt(7, "press", False, at(6), "no answer"), Command("hold", {"rule": "r", "for_s": 1.5}, "ann", at(7)),
]  # fmt: skip


def head(*, whole: bool = True) -> Header:
    return header(epoch="E", boot="b", site_sha256="00", version="0", whole=whole)


def test_recorded_events_come_back_equal_and_in_order(tmp_path: Path) -> None:
    log = Recorder(tmp_path / "log")
    log.begin(head())
    log.append(EVENTS[:3])
    log.append(EVENTS[3:])
    log.close()
    got, events = read_log(tmp_path / "log")
    assert got == head()
    assert list(events) == EVENTS


def test_log_cut_off_inside_an_event_ends_before_it(tmp_path: Path) -> None:
    log = Recorder(tmp_path / "log")
    log.begin(head())
    log.append(EVENTS)
    log.close()
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole[:-11])
    assert list(read_log(tmp_path / "log")[1]) == EVENTS[:-1]


def recorded(path: Path) -> tuple[bytes, list[int]]:
    """The content of a log, and where each event begins in it."""
    log = Recorder(path)
    log.begin(head())
    log.append([])
    starts = []
    for event in EVENTS:
        log._file.flush()
        starts.append(path.stat().st_size)
        log.append([event])
    log.close()
    return path.read_bytes(), starts


def test_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content, _ = recorded(path)
    assert len(list(read_log(path, to_its_end=True)[1])) == len(EVENTS)
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(Rejected):
            list(read_log(path, to_its_end=True)[1])


def test_tail_cut_off_anywhere_is_refused_where_the_end_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content, _ = recorded(path)
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(Rejected):
            list(read_log(path, to_its_end=True)[1])


def test_event_left_out_put_elsewhere_or_doubled_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content, (_, one, two, three, *_) = recorded(path)
    forged = {
        "left out": content[:one] + content[two:],
        "put elsewhere": content[:one] + content[two:three] + content[one:two] + content[three:],
        "doubled": content[:two] + content[one:],
        "without its head": content[one:],
    }
    for how, log in forged.items():
        path.write_bytes(log)
        with pytest.raises(Rejected):
            pytest.fail(f"{how}: {len(list(read_log(path)[1]))} events came back")


def test_part_of_a_ring_does_not_pass_for_a_piece_of_a_record(tmp_path: Path) -> None:
    """Its first event has a CRC of its own: right by itself, and wrong where it stands."""
    record, ring = tmp_path / "log", tmp_path / "ring"
    content, starts = recorded(record)
    part = Ring(ring, head(whole=False), size_bytes=64 * 1024)
    part.append(EVENTS[:3])
    part.close()
    alien = next(ring.glob("*.events")).read_bytes()
    record.write_bytes(content[: starts[3]] + alien)
    with pytest.raises(Rejected, match=f"changed or damaged at byte {starts[3]}"):
        list(read_log(record)[1])


def test_flipped_bit_in_an_incident_gives_no_wrong_event(tmp_path: Path) -> None:
    """An incident has no end that could be missed: with a wrong length it may stop early."""
    ring = Ring(tmp_path / "ring", head(whole=False), size_bytes=64 * 1024)
    ring.append(EVENTS)
    incident = tmp_path / "incident"
    ring.freeze(incident)
    content = incident.read_bytes()
    assert list(read_log(incident)[1]) == EVENTS
    for place in range(len(content) // 2, len(content), 3):
        incident.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        came: list[Event] = []
        with suppress(Rejected):
            came.extend(read_log(incident)[1])
        assert came == EVENTS[: len(came)]
        assert len(came) < len(EVENTS)


@pytest.mark.parametrize("content", [b"", b"hello, world", b"\xff" * 12, b"\0\0\0\1\x30\x08\xed\x12\x90"])
def test_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(Rejected):
        read_log(tmp_path / "log")


def test_ring_keeps_the_newest_and_its_size(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", head(whole=False), size_bytes=64 * 1024)
    events = [reading(k, temp=float(k)) for k in range(5000)]
    for k in range(0, 5000, 5):
        ring.append(events[k : k + 5])
        size = sum(f.stat().st_size for f in (tmp_path / "ring").iterdir())
        assert size < 72 * 1024
    ring.freeze(tmp_path / "incident")
    got, frozen = read_log(tmp_path / "incident")
    kept = list(frozen)
    assert not got.whole
    assert kept == events[-len(kept) :]
    assert len(kept) > 200


def test_log_whose_header_names_a_phase_that_is_none_is_no_event_log(tmp_path: Path) -> None:
    right, wrong = Remembered({"hot": Phase.RAISED}), Remembered({"hot": "raisee"})  # type: ignore[dict-item]
    for name, before in {"right": right, "wrong": wrong}.items():
        log = Recorder(tmp_path / name)
        log.begin(header(epoch="E", boot="b", site_sha256="00", version="0", whole=True, before=before))
        log.close()
    assert read_log(tmp_path / "right")[0].before == right
    with pytest.raises(Rejected, match="not an event log"):
        read_log(tmp_path / "wrong")
