"""What status says of the backlog: how much, how old, and when it is gone, on a clock that is turned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.contract.decode import When
from edge_agent.store.backlog import Backlog, _age_of
from edge_agent.types import ClockQuality, Stamp
from tests.store import effects
from tests.store.box import Box


class Town:
    """A store with its backlog, a commit of one row a second."""

    def __init__(self, directory: Path) -> None:
        self.box = Box(directory)
        self.backlog = Backlog(self.box.writer, self.box.clock)

    def second(self, *, delivered: int = 0) -> None:
        self.box.clock.advance(1)
        committed = self.box.commit(self.box.telemetry(count=1))
        if delivered:
            self.box.deliver(self.box.waiting(2)[:delivered])
        self.backlog.committed(committed)

    def told(self) -> tuple[int, float | None, float | None]:
        told = self.backlog.to_dict()
        return told["rows"], told["oldest_s"], told["gone_in_s"]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "store")


def test_nothing_waits_at_first(town: Town) -> None:
    assert town.told() == (0, None, None)


def test_age_is_that_of_the_oldest_row_that_waits(town: Town) -> None:
    for _ in range(40):
        town.second()
    town.box.deliver(town.box.waiting(2)[:30])
    town.box.clock.advance(0.5)
    assert town.told()[:2] == (10, 9.5)


def test_gone_in_is_what_is_left_at_the_speed_of_the_last_minute(town: Town) -> None:
    for _ in range(30):
        town.second()
    assert town.told()[2] is None
    for _ in range(70):
        town.second(delivered=1)
    for _ in range(10):
        town.second(delivered=3)
    rows, _, gone_in = town.told()
    assert rows == 10
    assert gone_in == pytest.approx(10 / (20 / 63), rel=0.01)


def test_backlog_of_an_earlier_start_has_the_age_of_its_rows(tmp_path: Path) -> None:
    town = Town(tmp_path / "store")
    for _ in range(3):
        town.second()
    town.box.restart()
    town.backlog = Backlog(town.box.writer, town.box.clock)
    # the rows of this box are all of the instant WALL0
    passed_s = 3600.0
    town.box.clock.step_wall(effects.WALL0 / 1e9 + passed_s - town.box.clock.now().wall_ns / 1e9)
    town.second()
    rows, oldest_s, _ = town.told()
    assert rows == 5, "four rows, and the ledger that closes the epoch before"
    assert oldest_s == pytest.approx(passed_s + 1, abs=0.2)


def test_store_that_cannot_be_read_costs_the_age_and_nothing_else(tmp_path: Path) -> None:
    town = Town(tmp_path / "store")
    town.second()
    town.box.restart()
    town.backlog = Backlog(town.box.writer, town.box.clock)
    town.backlog._path = tmp_path / "gone.db"
    town.second()
    assert town.told()[:2] == (3, None)


@pytest.mark.parametrize(
    ("row_right", "now_right", "known"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_an_age_that_a_wrong_clock_would_make_up_is_not_told(row_right: bool, now_right: bool, known: bool) -> None:
    now = Stamp(5_000_000_000, effects.WALL0, ClockQuality.SYNCED if now_right else ClockQuality.GUESSED, "boot-b")
    row = When("boot-a", effects.WALL0 // 1_000_000 - 60_000, 1_000, not row_right)
    assert (_age_of(row, now) is not None) is known


def test_within_a_boot_an_age_is_right_whatever_the_wall_clock_says() -> None:
    row = When("boot-a", 0, 1_000, True)
    assert _age_of(row, Stamp(61_000_000_000, effects.WALL0, ClockQuality.GUESSED, "boot-a")) == 60.0
