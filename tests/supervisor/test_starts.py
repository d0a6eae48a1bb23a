"""Row 25: too many starts that end badly are noticed without a clock, and what counts is struck off again."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.starts import LIVED_S, STOOD_S, Starts


def start(folder: Path, clock: FakeClock) -> Starts:
    starts = Starts(folder / "starts.json", clock)
    starts.begin()
    return starts


def crash(folder: Path, clock: FakeClock, times: int, *, after_s: float = 5.0) -> None:
    for _ in range(times):
        assert not start(folder, clock).safe_mode
        clock.advance(after_s)


def told(starts: Starts) -> list[tuple[bool, str]]:
    said: list[tuple[bool, str]] = []
    starts.turn(lambda up, why: said.append((up, why)))
    return said


def test_five_starts_that_end_badly_are_a_crash_loop(tmp_path: Path) -> None:
    clock = FakeClock()
    crash(tmp_path, clock, 5)
    looping = start(tmp_path, clock)
    assert "models are left out" in looping.safe_mode
    assert told(looping) == [(False, looping.safe_mode)]


def test_safe_mode_lasts_while_it_crashes_too(tmp_path: Path) -> None:
    clock = FakeClock()
    crash(tmp_path, clock, 5)
    assert all(start(tmp_path, clock).safe_mode for _ in range(20))
    assert (tmp_path / "starts.json").stat().st_size < 1000


def test_starts_that_end_badly_now_and_then_are_none(tmp_path: Path) -> None:
    crash(tmp_path, FakeClock(), 20, after_s=LIVED_S / 5 + 1)


def test_a_clean_stop_begins_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    crash(tmp_path, clock, 5)
    start(tmp_path, clock).close()
    crash(tmp_path, clock, 5)


def test_what_has_lived_ends_the_safe_mode_and_is_struck_off(tmp_path: Path) -> None:
    clock = FakeClock()
    crash(tmp_path, clock, 5)
    looping = start(tmp_path, clock)
    clock.advance(LIVED_S - 1)
    told(looping)
    looping.keep()
    assert looping.safe_mode
    clock.advance(1)
    assert told(looping) == [(True, "")]
    looping.keep()
    assert not looping.safe_mode
    crash(tmp_path, FakeClock(boot="the next"), 5)


def test_short_trips_of_a_truck_that_is_switched_off_are_none(tmp_path: Path) -> None:
    for trip in range(20):
        clock = FakeClock(boot=f"trip{trip}")
        driven = start(tmp_path, clock)
        assert not driven.safe_mode
        clock.advance(STOOD_S)
        driven.keep()


def test_crashes_after_a_minute_each_are_a_crash_loop(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(5):
        crashed = start(tmp_path, clock)
        assert not crashed.safe_mode
        clock.advance(STOOD_S)
        crashed.keep()
    assert start(tmp_path, clock).safe_mode


@pytest.mark.parametrize("wall_ns", [0, 2**62])
def test_power_cuts_count_whatever_the_clocks_say(tmp_path: Path, wall_ns: int) -> None:
    for n in range(5):
        crash(tmp_path, FakeClock(boot=f"boot{n}", mono_ns=9_000_000_000_000 * n, wall_ns=wall_ns), 1)
    assert start(tmp_path, FakeClock(boot="boot5", mono_ns=90_000_000_000_000, wall_ns=wall_ns)).safe_mode


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b'[{"boot":1}]', b"{}", b"[" * 5000])
def test_a_damaged_file_counts_as_none_and_is_whole_again(tmp_path: Path, content: bytes) -> None:
    clock = FakeClock()
    (tmp_path / "starts.json").write_bytes(content)
    crash(tmp_path, clock, 5)
    assert start(tmp_path, clock).safe_mode


def test_a_disk_that_refuses_keeps_nobody_from_starting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    with caplog.at_level(logging.WARNING):
        starts = start(tmp_path / "missing", clock)
        clock.advance(LIVED_S)
        told(starts)
        starts.keep()
        starts.keep()
        starts.close()
    assert not starts.safe_mode
    assert caplog.text.count("may go unnoticed") == 1
    (tmp_path / "missing").mkdir()
    crash(tmp_path / "missing", clock, 5)
    starts.keep()
    crash(tmp_path / "missing", clock, 5)


@pytest.mark.parametrize("lived", [False, True])
def test_a_full_disk_does_not_keep_the_box_in_safe_mode(
    tmp_path: Path, lived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    crash(tmp_path, clock, 5)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_agent.starts.replace_file", full)
    looping = start(tmp_path, clock)
    assert looping.safe_mode
    if lived:
        clock.advance(LIVED_S)
        told(looping)
        looping.keep()
    else:
        looping.close()
    assert not start(tmp_path, FakeClock(boot="the next")).safe_mode
