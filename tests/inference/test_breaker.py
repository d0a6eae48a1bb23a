"""A worker that fails is tried again later and later, then left alone, and taken back by its first success."""

from __future__ import annotations

from edge_agent.inference.breaker import Breaker

S = 1_000_000_000


def waits(breaker: Breaker, count: int, *, between_s: float = 0.0) -> list[float]:
    """Seconds that the breaker asks for after each of so many failures."""
    now, out = 0, []
    for _ in range(count):
        breaker.failed(now)
        out.append((breaker.retry_ns - now) / S)
        now = breaker.retry_ns + round(between_s * S)
        breaker.ready(now)
    return out


def test_back_off_doubles_from_a_tenth_of_a_second() -> None:
    assert waits(Breaker(failures=100), 11) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_five_failures_in_a_minute_open_it_even_with_successes_between() -> None:
    breaker = Breaker()
    opened = []
    for n in range(5):
        opened.append(breaker.failed(n * 10 * S))
        breaker.succeeded()
        if n < 4:
            assert breaker.state == "closed"
    assert opened == [False] * 4 + [True]


def test_five_failures_in_five_minutes_with_successes_between_do_not() -> None:
    breaker = Breaker()
    for n in range(50):
        assert not breaker.failed(n * 61 * S)
        breaker.succeeded()


def test_five_failures_in_a_row_open_it_however_slow_they_come() -> None:
    breaker = Breaker()
    assert [breaker.failed(n * 600 * S) for n in range(5)] == [False] * 4 + [True]


def test_what_no_other_try_can_help_opens_it_at_once() -> None:
    breaker = Breaker()
    assert breaker.failed(0, hopeless=True)
    assert not breaker.ready(29 * S)


def test_open_breaker_lets_one_try_through_after_the_cool_down_and_its_success_closes_it() -> None:
    breaker = Breaker(failures=1, cooldown_s=30)
    breaker.failed(0)
    assert not breaker.ready(30 * S - 1)
    assert breaker.ready(30 * S)
    assert breaker.state == "half_open"
    assert breaker.succeeded()
    assert breaker.state == "closed"
    assert not breaker.succeeded()


def test_failed_try_opens_it_for_twice_as_long_up_to_ten_minutes() -> None:
    breaker = Breaker(failures=1, cooldown_s=30)
    assert waits(breaker, 8) == [30, 60, 120, 240, 480, 600, 600, 600]
    breaker.ready(10**6 * S)
    breaker.succeeded()
    assert waits(breaker, 1) == [30]
