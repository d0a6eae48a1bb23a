"""What status says of a link that costs, of rows that nobody takes, and of a clock that is wrong."""

from __future__ import annotations

from typing import Any

from cli.documents import HEALTHY, TROUBLE
from edge_agent.cli.status_live import live_page

BUDGET = {
    "metered": True, "per_day_bytes": 20_000_000, "used_bytes": 12_300_000, "left_bytes": 7_700_000,
    "reserve_left_bytes": 2_000_000, "upkeep_bytes": 800_000, "day_ends_s": 28_800,
    "waits_s": {"live": 180.0, "backlog": 1900.0},
}  # fmt: skip


def section(document: dict[str, Any], title: str) -> str:
    (found,) = (s for s in live_page(document) if s.title == title)
    return "\n".join(f"{line.name} {line.state} {line.text}".strip() for line in found.lines)


def uplink(**more: Any) -> str:
    return section({**HEALTHY, "uplink": {**HEALTHY["uplink"], **more}}, "uplink")


def test_a_budget_says_what_is_used_who_waits_and_for_how_long() -> None:
    said = uplink(budget=BUDGET, thinned=120)
    assert "budget metered 12.3 MB of 20.0 MB used, day ends in 8 h" in said
    assert "on hold: live telemetry 3 min, backlog 32 min" in said
    assert "120 rows thinned" in said
    assert "free link" in uplink(budget={**BUDGET, "metered": False})


def test_rows_that_nobody_takes_are_named() -> None:
    said = uplink(
        last_dead_letter="the backend refused a row", counts={"no_subscribers": 2},
        notes={"subscription_refused": "edge/x: not_authorized"},
    )  # fmt: skip
    assert "newest dead letter: the backend refused a row" in said
    assert "nobody was subscribed to 2 rows" in said
    assert "the broker lets nothing come back" in said


def test_a_wrong_clock_says_why() -> None:
    guessed = {**TROUBLE, "clock": "guessed", "time": {"why_not": "no time service sets it"}}
    assert "CLOCK GUESSED: no time service sets it" in section(guessed, "agent")
