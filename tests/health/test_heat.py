"""Row 23: a hot box gives way by halves, gives back slowly, and does not swing; zones are files, as in sysfs."""

import math

import pytest

from edge_agent import machine
from edge_agent.clock import FakeClock
from edge_agent.heat import HALVE_S, MOST, Heat

EVERY_S = 5


class Box:
    """A board with one zone in a folder; `live` feels it every five seconds, `changes` are (second, one_in)."""

    def __init__(self, folder, limit_c=80.0):
        self.zone = folder / "thermal_zone0"
        self.zone.mkdir()
        self.zones = folder
        self.clock = FakeClock(mono_ns=77_000_000_000)
        self.heat = Heat(limit_c)
        self.changes = []
        self.second = 0

    def set(self, celsius):
        (self.zone / "temp").write_text(f"{celsius * 1000:.0f}\n")

    def live(self, seconds, celsius=None):
        for _ in range(0, seconds, EVERY_S):
            if celsius is not None:
                self.set(celsius() if callable(celsius) else celsius)
            before = self.heat.one_in
            self.heat.feel(machine.temperature_c(self.zones), self.clock.mono_ns())
            if self.heat.one_in != before:
                self.changes.append((self.second, self.heat.one_in))
            self.clock.advance(EVERY_S)
            self.second += EVERY_S


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_row_23_from_the_limit_on_it_halves_step_by_step_and_gives_back_below_it_less_five(box):
    box.live(60, 79.9)
    assert (box.changes, box.heat.words()) == ([], "")
    box.live(120, 80.0)
    assert [one_in for _, one_in in box.changes] == [2, 4, 8, 16, 32]
    assert [b - a for (a, _), (b, _) in zip(box.changes, box.changes[1:], strict=False)] == [HALVE_S] * 4
    assert box.heat.words().startswith("80 °C, too hot (80 °C): cameras pass one frame in 32 on")
    box.live(3600, 75.0)
    assert box.heat.one_in == MOST, "in between nothing moves"
    box.changes.clear()
    box.live(600, 74.9)
    assert [one_in for _, one_in in box.changes] == [16, 8, 4, 2, 1]
    assert all(b - a == 60 for (a, _), (b, _) in zip(box.changes, box.changes[1:], strict=False))


@pytest.mark.parametrize("noise_c", [0.0, 2.0])
def test_row_23_a_box_that_heats_up_again_whenever_it_gets_more_does_not_swing(box, noise_c):
    """Full rate would make it 95 °C, a quarter 83, an eighth 71: no step keeps it between."""
    celsius = 60.0

    def plant():
        nonlocal celsius
        target = {1: 95.0, 2: 90.0, 4: 83.0}.get(box.heat.one_in, 71.0)
        celsius += (target - celsius) * (1 - math.exp(-EVERY_S / 60))
        return celsius + noise_c * math.sin(box.second)

    box.live(6 * 3600, plant)
    last_hours = [second for second, _ in box.changes if second > 2 * 3600]
    assert len(last_hours) <= 8, box.changes
    assert len(box.changes) < 40


def test_what_swung_once_is_forgotten_when_it_was_cool_for_long(box):
    for _ in range(6):
        box.live(10, 81.0)
        box.live(4000, 60.0)
    box.changes.clear()
    box.live(5, 81.0)
    box.live(200, 60.0)
    assert [one_in for _, one_in in box.changes] == [2, 1]


def test_a_box_that_measures_nothing_any_more_is_given_back_what_it_had(box):
    box.live(60, 90.0)
    (box.zone / "temp").unlink()
    box.live(600)
    assert box.heat.one_in == 1
    assert box.heat.celsius is None


def test_the_limit_is_the_sites(tmp_path):
    box = Box(tmp_path, limit_c=97.0)
    box.live(60, 96.0)
    assert box.changes == []
    box.live(5, 97.0)
    assert box.heat.one_in == 2
