"""Pages of status: exactly these on 80 and 20 columns, and on any width nothing that breaks a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.documents import HEALTHY, TROUBLE, latency
from edge_agent.cli.page import Line, Section, laid_out
from edge_agent.cli.status_live import live_page
from edge_agent.cli.status_stored import stored_page
from edge_agent.contract.messages import Alerted, Decided, RuleRef
from edge_agent.store.reader import EpochView, GapView, PriorityView, StoreView

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 1_767_225_600_000
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def alert(seq: int, alert_id: str, state: str, t: int, text: str = "the motor is hot") -> Alerted:
    return Alerted(
        gw="gw", stream="alerts", epoch="E", seq=seq, t=t, tq="synced", alert_id=alert_id, dedupe_key="rule/hot",
        state=state, severity="critical", text=text,
    )  # fmt: skip


STORED = StoreView(
    opened="immutable",
    sqlite="3.40.1",
    database_bytes=12_400_000,
    wal_bytes=0,
    aside=["store.db.damaged-1"],
    priorities=[
        PriorityView(0, 14, 14, 3, 3, NOW_MS - 60_000, NOW_MS - 90_000_000, NOW_MS - 3_000),
        PriorityView(1, 0, 0, 0, 0, None, None, None),
        PriorityView(2, 9000, 540_000, 0, 0, None, NOW_MS - 90_000_000, NOW_MS + 60_000),
    ],
    last={"motor": 540_000},
    epochs=[EpochView(12, "E", "b", NOW_MS - 7_300_000)],
    decisions=[
        Decided(
            gw="gw", stream="decisions", epoch="E", seq=1, t=NOW_MS - 3_000, tq="synced",
            rule=RuleRef(id="hot", sha256="0" * 64), inputs={}, unknown=[], outcome="raised", action=None,
            overrides=[],
        )
    ],
    alerts=[
        alert(3, "a-2", "cleared", NOW_MS - 2_000), alert(2, "a-1", "raised", NOW_MS - 4_000, "jam\x1b[31m"),
        alert(1, "a-2", "raised", NOW_MS - 9_000),
    ],
    gaps=[GapView("motor", "E", 10, 120, "overload")],
    dead_letters=1,
)  # fmt: skip
PAGES = {
    "trouble": live_page(TROUBLE),
    "healthy": live_page(HEALTHY),
    "stored": stored_page(
        STORED, "/var/lib/edge-agent/store", "no agent at /run/edge-agent/agent.sock: there is no socket",
        "systemctl start edge-agent", NOW_MS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 20])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_exactly_this(name: str, width: int) -> None:
    """After a change on purpose: look at what pytest shows, and write it into the golden file."""
    shown = "\n".join(laid_out(PAGES[name], width, colour=False)) + "\n"
    assert shown == (GOLDEN / f"status_{name}_{width}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1, 7, 20, 39, 40, 60, 80, 100])
def test_no_line_is_longer_than_the_terminal(name: str, width: int) -> None:
    page = laid_out(PAGES[name], width, colour=True)
    assert max(len(COLOUR.sub("", line)) for line in page) <= max(width, 12)


@pytest.mark.parametrize("name", PAGES)
def test_colours_add_nothing_that_words_do_not_say(name: str) -> None:
    plain, coloured = (laid_out(PAGES[name], 80, colour=colour) for colour in (False, True))
    assert plain != coloured
    assert [COLOUR.sub("", line) for line in coloured] == plain


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0.5, "0.5 ms"), (999.4, "999 ms"), (999.6, "1 s"), (10_300.0, "10.3 s"), (90_000.0, "90 s"), (1e6, "17 min")],
)
def test_a_latency_is_said_in_the_unit_that_people_read(ms: float, said: str) -> None:
    document = {**HEALTHY, "engine": {**HEALTHY["engine"], "latency": latency(3, 0.1, ms)}}
    assert f"p50 0.1 ms, p99 {said}, 3 readings" in "\n".join(laid_out(live_page(document), 80, colour=False))


TEXT = st.text(max_size=60)


@given(TEXT, TEXT, TEXT, st.sampled_from(["", "good", "bad", "odd"]), st.integers(20, 100))
def test_whatever_a_sensor_says_steers_no_terminal(name: str, state: str, text: str, tone: str, width: int) -> None:
    page = laid_out([Section("sources", [Line(name, state, tone, text)])], width, colour=False)
    assert all(line.isprintable() and len(line) <= width for line in page)


def test_store_view_of_a_page_is_what_the_reader_gives() -> None:
    assert msgspec.convert(msgspec.to_builtins(STORED), StoreView) == STORED
