"""How many readings a second a source gives, as status shows it."""

from __future__ import annotations

import pytest

from edge_agent.health import Arrivals, PartHealth

S = 1_000_000_000


def test_steady_source_has_its_rate() -> None:
    arrivals = Arrivals()
    for k in range(1, 200):
        arrivals.add(5, k * S // 10)
        if k > 10:
            assert arrivals.rate_hz(k * S // 10) == pytest.approx(50, rel=0.11)


def test_rate_follows_a_change_within_ten_seconds() -> None:
    arrivals = Arrivals()
    for k in range(1, 200):
        arrivals.add(1, k * S // 10)
    for k in range(1, 101):
        arrivals.add(10, 20 * S + k * S // 10)
    assert arrivals.rate_hz(30 * S) == pytest.approx(100, rel=0.1)


def test_silent_source_fades() -> None:
    arrivals = Arrivals()
    for k in range(1, 100):
        arrivals.add(1, k * S // 10)
    rates = [arrivals.rate_hz((10 + silence) * S) for silence in (0, 5, 30, 300)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.2


def test_part_that_heard_nothing_says_nothing_of_rates() -> None:
    part = PartHealth("motor")
    assert "rate_hz" not in part.to_dict(S)
    part.heard(3, S)
    told = part.to_dict(2 * S)
    assert (told["age_s"], told["rate_hz"], told["counts"]) == (1.0, 3.0, {"items": 3})
