"""A flood delays and sheds only its own source, and every shed reading is declared."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inbox import SLICE, Feed, Inbox
from edge_agent.types import HealthChange, Lost, Reading
from tests.engine.sites import at, reading


def drain(inbox: Inbox, turns: int = 10_000) -> list[object]:
    out: list[object] = []
    for _ in range(turns):
        feed = inbox.wait(0.001)
        if feed is None:
            break
        out += feed.take()
    return out


def test_alarm_waits_for_at_most_one_slice_of_the_flood() -> None:
    inbox = Inbox()
    flood, alarm = inbox.feed("flood"), inbox.feed("alarm")
    flood.offer([reading(1, "flood", x=1.0)] * 3000)
    alarm.offer([reading(1, "alarm", x=1.0)])
    order = [e.stream for e in drain(inbox) if isinstance(e, Reading)]
    assert order.index("alarm") <= SLICE


def test_readings_beyond_the_quota_are_shed_and_declared_before_the_next() -> None:
    inbox = Inbox()
    feed = inbox.feed("flood", limit=10)
    feed.offer([reading(1, "flood", x=float(k)) for k in range(25)])
    first = drain(inbox)
    feed.offer([reading(2, "flood", x=99.0)])
    second = drain(inbox)
    assert len(first) == 10
    lost, after = second
    assert isinstance(lost, Lost)
    assert (lost.count, lost.reason) == (15, "overload")
    assert isinstance(after, Reading)


def test_what_was_shed_is_declared_although_nothing_more_comes() -> None:
    inbox = Inbox()
    feed = inbox.feed("flood", limit=2)
    feed.offer([reading(1, "flood", x=1.0)] * 5)
    drain(inbox)
    feed.settle(at(3))
    assert [e.count for e in drain(inbox) if isinstance(e, Lost)] == [3]


def test_what_was_shed_last_is_declared_when_the_producer_stops() -> None:
    inbox = Inbox()
    feed = inbox.feed("flood", limit=2)
    feed.offer([reading(1, "flood", x=1.0)] * 5)
    feed.finish(at(2))
    assert [e.count for e in drain(inbox) if isinstance(e, Lost)] == [3]


def test_rate_limit_lets_a_second_of_its_rate_through() -> None:
    inbox = Inbox()
    feed = inbox.feed("flood", limit=100_000, rate_hz=100)
    for k in range(1000):
        feed.offer([reading(k / 1000, "flood", x=1.0)] * 10)
    passed = [e for e in drain(inbox) if isinstance(e, Reading)]
    assert 190 <= len(passed) <= 210
    assert feed.shed_total == 10_000 - len(passed)


def test_news_of_the_agent_itself_is_never_shed() -> None:
    inbox = Inbox()
    feed = inbox.feed("flood", limit=1)
    feed.offer([reading(1, "flood", x=1.0)] * 5)
    feed.offer([HealthChange("flood", False, at(2))])
    assert any(isinstance(e, HealthChange) for e in drain(inbox))


def test_waiting_producer_goes_on_when_the_engine_took_something() -> None:
    inbox = Inbox()
    feed = inbox.feed("replay", limit=SLICE)
    left = feed.offer_waiting([reading(1, "r", x=float(k)) for k in range(100)], 1.0)
    assert len(left) == 100 - SLICE
    producer = threading.Thread(target=lambda: feed.offer_waiting(left, 5.0))
    producer.start()
    taken = drain(inbox, 1)
    producer.join(5.0)
    taken += drain(inbox)
    assert [e.values["x"] for e in taken if isinstance(e, Reading)] == [float(k) for k in range(100)]


@given(st.lists(st.one_of(st.integers(1, 200), st.just(0)), max_size=40), st.integers(1, 150))
def test_accepted_plus_declared_is_everything_offered(script: list[int], limit: int) -> None:
    inbox = Inbox()
    feed = inbox.feed("any", limit=limit)
    seen: list[object] = []
    offered = 0
    for step, n in enumerate(script):
        if n:
            feed.offer([reading(step, "any", x=1.0)] * n)
            offered += n
        else:
            seen += drain(inbox, 1)
    seen += drain(inbox)
    feed.settle(at(99))
    seen += drain(inbox)
    readings = sum(isinstance(e, Reading) for e in seen)
    assert readings + sum(e.count for e in seen if isinstance(e, Lost)) == offered


def offered(feed: Feed, *instants_s: float) -> None:
    feed.offer([reading(s, feed.name, x=1.0) for s in instants_s])


def taken(inbox: Inbox) -> list[tuple[str, float]]:
    return [(e.stream, e.stamp.mono_ns / 1e9) for e in drain(inbox) if isinstance(e, Reading)]


class TestARecording:
    """Sources that are replayed as fast as possible are one recording, however fast each is read."""

    def test_its_feeds_are_taken_in_the_order_of_event_time(self) -> None:
        inbox = Inbox()
        often, seldom = inbox.recorded_feed("often"), inbox.recorded_feed("seldom")
        offered(seldom, *range(0, 100, 10))
        offered(often, *(k / 10 for k in range(1000)))
        seldom.finish(at(0))
        often.finish(at(0))
        found = taken(inbox)
        assert len(found) == 1010
        assert found == sorted(found, key=lambda one: one[1])

    def test_of_one_instant_the_site_files_order_counts(self) -> None:
        inbox = Inbox()
        first, second = inbox.recorded_feed("first"), inbox.recorded_feed("second")
        offered(second, 1, 2)
        offered(first, 1, 2)
        inbox.expect_no_more()
        assert taken(inbox) == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]

    def test_no_feed_runs_ahead_of_one_that_is_expected_to_say_more(self) -> None:
        inbox = Inbox()
        fast, slow = inbox.recorded_feed("fast"), inbox.recorded_feed("slow")
        offered(fast, *range(10))
        assert taken(inbox) == []
        offered(slow, 4.5)
        assert taken(inbox) == [*(("fast", s) for s in range(5)), ("slow", 4.5)]
        slow.expect(more=False)
        assert taken(inbox) == [("fast", s) for s in range(5, 10)]

    def test_the_agents_own_news_wait_for_none_of_it(self) -> None:
        inbox = Inbox()
        inbox.recorded_feed("slow")
        inbox.feed("agent").offer([HealthChange("uplink", True, at(0))])
        assert len(drain(inbox)) == 1

    def test_a_producer_that_waits_goes_on_when_its_events_are_taken(self) -> None:
        inbox = Inbox()
        feed = inbox.recorded_feed("replay", limit=SLICE)
        assert not feed.offer_waiting([reading(1, "replay", x=1.0)] * SLICE, 0.0)
        more, left = [reading(2, "replay", x=1.0)], list[object]()
        waiting = threading.Thread(target=lambda: left.extend(feed.offer_waiting(more, 30.0)))
        waiting.start()
        drain(inbox)
        waiting.join(10.0)
        assert not waiting.is_alive()
        assert not left
