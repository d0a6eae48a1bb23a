"""What a metered link costs in a day: never more than the budget and one message, whoever wants to send what when."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.uplink.budget import DAY_NS, Budget, Limits, Spender, Spent, cost_bytes

S = 1_000_000_000
HOUR = 3600 * S
LIMITS = Limits(20_000_000, 2_000_000)
PAID = (Spender.PREDICTION, Spender.LIVE, Spender.BACKLOG)


def budget(limits=LIMITS, before=Spent(), now=0, boot="a"):  # noqa: B008
    return Budget(limits, before, boot, now)


def spend_all(b, who, now, body=1000):
    """As much as it lets through at once; how many bytes that cost."""
    before = b.to_dict(now)["used_bytes"]
    while b.allows(who, now):
        b.spend(who, body, now)
    return b.to_dict(now)["used_bytes"] - before


def test_urgent_rows_have_a_reserve_that_nothing_else_touches():
    b = budget()
    for hour in range(24):
        for who in PAID:
            spend_all(b, who, hour * HOUR + HOUR - 1)
    end = 24 * HOUR - 1
    assert not any(b.allows(who, end) for who in PAID)
    assert b.allows(Spender.URGENT, end)
    urgent = spend_all(b, Spender.URGENT, end)
    assert urgent >= LIMITS.reserve_bytes
    assert b.to_dict(end)["used_bytes"] <= LIMITS.per_day_bytes + cost_bytes(1000)


def test_the_day_is_paced_so_that_the_evening_has_its_share():
    b = budget()
    costs = [spend_all(b, Spender.LIVE, hour * HOUR) for hour in range(24)]
    assert max(costs[1:]) < 1.1 * min(costs[1:])
    assert sum(costs) > 0.8 * (LIMITS.per_day_bytes - LIMITS.reserve_bytes)


def test_predictions_go_before_live_telemetry_and_that_before_what_waited():
    b = budget()
    now = 6 * HOUR
    spend_all(b, Spender.BACKLOG, now)
    assert b.allows(Spender.LIVE, now)
    spend_all(b, Spender.LIVE, now)
    assert b.allows(Spender.PREDICTION, now)
    spend_all(b, Spender.PREDICTION, now)
    waits = [b.wait_ns(who, now) for who in PAID]
    assert 0 < waits[0] < waits[1] < waits[2]


@pytest.mark.parametrize("who", PAID)
def test_it_says_when_it_goes_on(who):
    b = budget()
    spend_all(b, who, HOUR)
    wait = b.wait_ns(who, HOUR)
    assert not b.allows(who, HOUR + wait - S)
    assert b.allows(who, HOUR + wait + S)


def test_what_the_kernel_counts_is_what_counts_where_it_is_more():
    b = budget()
    b.spend(Spender.LIVE, 1000, 0)
    b.measured(500_000, S)
    assert b.to_dict(S)["used_bytes"] == 500_000
    b.ended(2 * S)
    assert b.to_dict(2 * S)["used_bytes"] == 500_000
    b.ended(3 * S)
    assert b.to_dict(3 * S)["used_bytes"] == 500_000 + LIMITS.dial_bytes, "an attempt is not free"


def test_a_free_link_costs_nothing_and_holds_nothing_back():
    b = budget()
    b.connected(metered=False, now_ns=0)
    for _ in range(100):
        assert b.allows(Spender.BACKLOG, 0)
        b.spend(Spender.BACKLOG, 10**6, 0)
    b.measured(10**8, S)
    b.ended(S)
    assert b.to_dict(S)["used_bytes"] == 0
    b.connected(metered=True, now_ns=S)
    assert spend_all(b, Spender.LIVE, S) > 0


def test_a_restart_of_the_agent_and_of_the_box_keep_the_day():
    b = budget(now=5 * HOUR)
    b.connected(metered=True, now_ns=5 * HOUR)
    b.spend(Spender.URGENT, 10_000, 6 * HOUR)
    kept = b.spent(6 * HOUR)
    again = budget(before=kept, now=7 * HOUR)
    assert again.to_dict(7 * HOUR)["used_bytes"] == cost_bytes(10_000)
    assert again.to_dict(7 * HOUR)["day_ends_s"] == b.to_dict(7 * HOUR)["day_ends_s"]
    rebooted = budget(before=kept, now=60 * S, boot="b")
    assert rebooted.to_dict(60 * S)["used_bytes"] == cost_bytes(10_000)
    assert rebooted.to_dict(60 * S)["day_ends_s"] == b.to_dict(6 * HOUR)["day_ends_s"] - 60


def test_a_new_day_begins_with_nothing_spent_also_within_a_connection():
    b = budget()
    b.measured(19_000_000, 23 * HOUR)
    assert not b.allows(Spender.LIVE, 23 * HOUR)
    assert b.allows(Spender.LIVE, 24 * HOUR + 1)
    b.measured(19_100_000, 25 * HOUR)
    assert b.to_dict(25 * HOUR)["used_bytes"] == 100_000


def test_documents_never_take_more_than_their_part():
    b = budget()
    total = sum(spend_all(b, Spender.DOCUMENT, minute * 60 * S, body=6000) for minute in range(24 * 60))
    assert total < LIMITS.per_day_bytes / 15


class Day(RuleBasedStateMachine):
    """Whoever asks and is let through spends; the kernel counts at most what was charged, and the line's upkeep."""

    @initialize(per_day=st.integers(1_000_000, 50_000_000), reserve=st.integers(0, 500_000))
    def start(self, per_day, reserve):
        self.limits = Limits(per_day, reserve)
        self.now = 0
        self.budget = Budget(self.limits, Spent(), "a", 0)
        self.days = [0]
        self.largest = 0

    @rule(
        who=st.sampled_from([Spender.URGENT, *PAID, Spender.DOCUMENT]), body=st.integers(0, 98_304),
        times=st.integers(1, 200),
    )  # fmt: skip
    def send(self, who, body, times):
        for _ in range(times):
            if not self.budget.allows(who, self.now):
                return
            self.budget.spend(who, body, self.now)
            self.days[-1] += cost_bytes(body)
            self.largest = max(self.largest, cost_bytes(body))

    @rule(seconds=st.integers(1, 20_000))
    def time_passes(self, seconds):
        self.now += seconds * S
        if self.now // DAY_NS >= len(self.days):
            self.days.append(0)

    @rule()
    def restart(self):
        kept = self.budget.spent(self.now)
        self.budget = Budget(self.limits, kept, "a", self.now)

    @invariant()
    def no_day_costs_more_than_the_budget_and_one_message(self):
        if hasattr(self, "budget"):
            assert max(self.days) <= self.limits.per_day_bytes + self.largest
            shown = self.budget.to_dict(self.now)
            assert shown["used_bytes"] == self.days[-1]
            assert shown["left_bytes"] >= 0


TestDay = Day.TestCase
TestDay.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.integers(0, DAY_NS - 1), st.lists(st.sampled_from(PAID), max_size=30))
@settings(max_examples=60)
def test_the_wait_that_is_told_is_never_longer_than_the_day(at, whose):
    b = budget()
    for who in whose:
        spend_all(b, who, at, body=50_000)
    for who in (Spender.URGENT, *PAID):
        assert 0 <= b.wait_ns(who, at) <= DAY_NS
