"""An alert is raised once and cleared once, and a flickering one does not become a storm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alerts import STORM, Alerts
from edge_agent.config.site import RuleConfig
from edge_agent.types import Alert, HealthChange
from tests.engine.sites import at, engine, of, reading, run, tick


def states(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(a.dedupe_key, a.state) for a in alerts]


def test_storm_is_one_summary_and_how_it_stands_is_said_when_it_rests() -> None:
    book = Alerts("E")
    sent: list[Alert] = []
    for k in range(100):
        sent += book.turn("rule/r", k % 2 == 0, "warning", "r", at(k * 0.1))
    assert states(sent).count(("rule/r", "raised")) == STORM
    assert states(sent)[-1] == ("storm/rule/r", "raised")
    sent += book.turn("rule/r", True, "warning", "r", at(10))
    assert {a.dedupe_key for a in book.raised()} == {"rule/r", "storm/rule/r"}
    assert book.settle(at(60)) == []
    over = book.settle(at(book.due_ns / 1e9))
    assert states(over) == [("storm/rule/r", "cleared"), ("rule/r", "raised")]
    assert over[0].alert_id == next(a.alert_id for a in sent if a.dedupe_key == "storm/rule/r")
    assert "81 changes" in over[0].text


def test_what_becomes_worse_is_said_again_and_stays_one_alert() -> None:
    def change(second: int, severity: str, *, again: bool) -> HealthChange:
        return HealthChange("uplink.tls.cert", False, at(second), severity, True, severity, again)

    steps = [change(1, "info", again=True), change(2, "warning", again=False), change(3, "critical", again=True)]
    said = of(Alert, run(engine(), tick(0), *steps))
    assert [(a.state, a.severity) for a in said] == [("raised", "info"), ("raised", "critical")]
    assert len({a.alert_id for a in said}) == 1


def test_a_part_that_works_again_is_said_in_words() -> None:
    gone = HealthChange("motor.safe_state", False, at(1), "the board is in its safe state", alert=True)
    back = HealthChange("motor.safe_state", True, at(2), alert=True)
    said = of(Alert, run(engine(), tick(0), gone, back))
    assert [(a.state, a.text) for a in said] == [
        ("raised", "motor.safe_state: the board is in its safe state"), ("cleared", "motor.safe_state: works again"),
    ]  # fmt: skip


def test_storm_ends_by_the_engines_own_deadline() -> None:
    machine = engine(RuleConfig(id="shaky", when="motor.temp > 50"))
    flicker = [reading(k * 0.1, temp=99.0 if k % 2 else 1.0) for k in range(100)]
    effects = of(Alert, run(machine, tick(0), *flicker, tick(200)))
    assert states(effects)[-2:] == [("storm/rule/shaky", "cleared"), ("rule/shaky", "raised")]
    assert len(effects) <= 2 * STORM + 3
    assert [a.seq for a in effects] == list(range(len(effects)))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30), st.booleans()), max_size=120))
def test_after_a_rest_the_last_message_says_how_it_stands(script: list[tuple[bool, float, bool]]) -> None:
    book = Alerts("E")
    sent: list[Alert] = []
    now = 0.0
    truth = False
    for up, wait, again in script:
        now += wait
        if book.due_ns <= at(now).mono_ns:
            sent += book.settle(at(now))
        sent += book.turn("k", up, "info", "k", at(now), again=again)
        truth = up
    sent += book.settle(at(now + 61))
    said = [a.state for a in sent if a.dedupe_key == "k"]
    assert said[-1:] == (["raised"] if truth else ["cleared"] if said else [])
    assert [a.seq for a in sent] == list(range(len(sent)))
