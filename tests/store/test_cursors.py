"""What a device may forget is decided by the commit: its place is kept with the readings and the losses before it."""

from pathlib import Path

from edge_agent.clock import FakeClock
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.store.body import StoreBody
from edge_agent.store.opening import open_store
from edge_agent.types import Gap
from tests.store import effects


class Life:
    """One run of a store, turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.writer = open_store(folder, gateway="gw1", quota_bytes=64 << 20, clock=self.clock)
        self.told: list[dict[str, int]] = []
        self.body = StoreBody(self.writer, clock=self.clock, describe=lambda _: StreamSpec())
        self.body.on_commit.append(lambda committed: self.told.append(committed.cursors))

    def commit(self, *given: object) -> None:
        self.body.put(given)
        self.clock.advance(2.0)
        self.body._turn(self.body._intake.take(0.0))

    def killed(self) -> None:
        """Nothing is written at the end."""
        self.writer._db.close()
        self.writer._opening.close()


def gap(life: Life, first: int, last: int, cursor: int | None) -> Gap:
    return Gap("press", life.writer.epoch, first, last, "device", effects.at(), cursor)


def cursor_after(folder: Path, *commits: tuple[object, ...]) -> int | None:
    """What a start after a kill finds."""
    life = Life(folder)
    for given in commits:
        life.commit(*(item(life) if callable(item) else item for item in given))
    life.killed()
    return Life(folder).writer.cursors.get("press")


def test_a_loss_after_readings_moves_the_place_beyond_it(tmp_path: Path) -> None:
    assert cursor_after(tmp_path, (effects.record(0, cursor=10), lambda s: gap(s, 1, 5, 16))) == 16


def test_a_reading_after_a_loss_moves_the_place_beyond_both(tmp_path: Path) -> None:
    given = (effects.record(0, cursor=10), lambda s: gap(s, 1, 5, 16), effects.record(6, cursor=17))
    assert cursor_after(tmp_path, given) == 17


def test_a_loss_alone_is_kept_although_no_row_says_its_place(tmp_path: Path) -> None:
    assert cursor_after(tmp_path, (effects.record(0, cursor=10),), (lambda s: gap(s, 1, 5, 16),)) == 16
    assert cursor_after(tmp_path / "b", (lambda s: gap(s, 0, 5, 16),), (effects.record(6, cursor=17),)) == 17


def test_a_place_without_a_loss_declares_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.commit(gap(life, 0, -1, 7))
    assert life.writer.cursors == {"press": 7}
    assert life.writer.last.get("press") is None
    assert life.told == []
    life.killed()
    assert Life(tmp_path).writer.cursors == {"press": 7}


def test_the_device_is_told_of_a_loss_with_its_commit(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.commit(effects.record(0, cursor=10), gap(life, 1, 5, 16))
    assert life.told == [{"press": 16}]
    life.killed()
