"""The engine's promises, each on a site of a few lines."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.site import RuleConfig, SignalConfig
from edge_agent.decisions import Remembered
from edge_agent.durations import LONGEST_HOLD_NS
from edge_agent.engine import Engine
from edge_agent.plan import make_plan
from edge_agent.rules.values import UNKNOWN
from edge_agent.types import (
    Act,
    Alert,
    ClockQuality,
    Command,
    Decision,
    Gap,
    Infer,
    LaneChange,
    Lost,
    Quality,
    Receipt,
    Record,
    RecordPrediction,
    Stamp,
    Tick,
)  # fmt: skip
from tests.engine.sites import FIELDS, LANES, OVERHEAT, at, engine, of, prediction, reading, run, served, site, tick


def outcomes(effects: list[object]) -> list[str]:
    return [d.outcome for d in of(Decision, effects)]


def test_rule_decides_and_acts_while_the_model_is_gone() -> None:
    machine = engine(OVERHEAT)
    effects = run(machine, tick(0), served(0.1, "unavailable"), reading(1, temp=95.0))
    assert [(a.actuator, a.target, a.value) for a in of(Act, effects)] == [("press", "relay", 0)]
    raised = next(d for d in of(Decision, effects) if d.outcome == "raised")
    assert raised.inputs == {"motor.temp": 95.0, "bearing.score": None, "bearing.trusted": False}
    assert raised.unknown == ("bearing.score",)
    assert raised.rung == "rules-only"


def test_rule_decides_by_the_model_while_it_is_trusted() -> None:
    machine = engine(OVERHEAT)
    effects = run(machine, tick(0), served(0.1), reading(1, temp=80.0), prediction(1.1, 0.9))
    assert "raised" in outcomes(effects)
    assert of(Decision, effects)[-1].models[0].version == "1.0.0"


def test_hysteresis_clears_below_the_lower_threshold_and_commands_the_other_value() -> None:
    machine = engine(OVERHEAT)
    effects = run(machine, tick(0), reading(1, temp=95.0), reading(2, temp=80.0), reading(3, temp=74.0))
    assert [o for o in outcomes(effects) if o in ("raised", "cleared")] == ["raised", "cleared"]
    assert [a.value for a in of(Act, effects)] == [0, 1]
    assert [a.state for a in of(Alert, effects) if a.dedupe_key == "rule/overheat"] == ["raised", "cleared"]


def test_every_accepted_reading_has_the_next_number_of_its_stream() -> None:
    machine = engine()
    effects = run(machine, *[reading(k, stream, temp=1.0) for k in range(5) for stream in ("motor", "other")])
    assert [(r.reading.stream, r.seq) for r in of(Record, effects)] == [
        (stream, k) for k in range(5) for stream in ("motor", "other")
    ]


def test_what_was_shed_is_a_gap_between_its_neighbours() -> None:
    machine = engine()
    effects = run(machine, reading(1, temp=1.0), Lost("motor", 7, "overload", at(1.5)), reading(2, temp=1.0))
    gap = of(Gap, effects)[0]
    assert (gap.stream, gap.first, gap.last, gap.reason) == ("motor", 1, 7, "overload")
    assert [r.seq for r in of(Record, effects)] == [0, 8]


def test_stale_field_is_unknown_at_its_deadline_and_not_before() -> None:
    machine = engine(stale_after="10s")
    slot = machine._plan.names.index("motor.temp")
    run(machine, reading(1, temp=20.0), reading(5, temp=20.0), tick(14.999))
    assert machine.values[slot] == 20.0
    run(machine, tick(15))
    assert machine.values[slot] is UNKNOWN


def test_absence_is_raised_at_its_deadline_without_any_event() -> None:
    machine = engine(RuleConfig(id="silent", when='absent(motor.temp, "30s")'))
    effects = run(machine, tick(0), reading(1, temp=20.0), tick(100))
    raised = next(d for d in of(Decision, effects) if d.outcome == "raised")
    assert raised.stamp == at(31)


def test_absence_counts_from_the_start_where_nothing_ever_came() -> None:
    machine = engine(RuleConfig(id="silent", when='absent(motor.temp, "30s")'))
    effects = run(machine, tick(5), tick(100))
    assert [d.stamp for d in of(Decision, effects) if d.outcome == "raised"] == [at(35)]


def test_a_bad_value_is_unknown_but_not_absent() -> None:
    machine = engine(RuleConfig(id="silent", when='absent(motor.temp, "30s")'))
    effects = run(machine, tick(0), *[reading(k, temp=float("nan")) for k in range(0, 100, 10)])
    assert "raised" not in outcomes(effects)


def test_value_out_of_the_declared_range_is_kept_with_bad_quality_and_unknown_to_rules() -> None:
    machine = engine(OVERHEAT)
    effects = run(machine, tick(0), reading(1, temp=3000.0))
    assert of(Act, effects) == []
    record = of(Record, effects)[0]
    assert record.reading.values == {"temp": 3000.0}
    assert record.reading.quality == {"temp": Quality.BAD}


def test_minus_zero_becomes_zero() -> None:
    machine = engine()
    run(machine, reading(1, temp=-0.0))
    assert str(machine.values[machine._plan.names.index("motor.temp")]) == "0.0"


def test_window_slides_without_new_readings() -> None:
    hot = SignalConfig(name="motor.hot", of="motor.temp", fn="max", window="10s")
    machine = engine(RuleConfig(id="was-hot", when="motor.hot > 90"), signals=(hot,), stale_after="1h")
    effects = run(machine, tick(0), reading(1, temp=95.0), reading(2, temp=20.0), tick(60))
    cleared = next(d for d in of(Decision, effects) if d.outcome == "cleared")
    assert 11.0 <= cleared.stamp.mono_ns / 1e9 <= 11.5


def test_late_reading_is_recorded_but_does_not_replace_the_newer_value() -> None:
    machine = engine()
    effects = run(machine, reading(5, temp=50.0), reading(3, temp=30.0))
    assert len(of(Record, effects)) == 2
    assert machine.values[machine._plan.names.index("motor.temp")] == 50.0


def test_model_window_is_ready_at_its_length_and_then_at_each_stride() -> None:
    machine = engine()
    effects = run(machine, *[reading(k, temp=float(k), load=float(10 + k)) for k in range(9)])
    infers = of(Infer, effects)
    assert [(i.number, i.refs[0].first, i.refs[0].last) for i in infers] == [(0, 0, 3), (1, 2, 5), (2, 4, 7)]
    assert infers[0].shape == (2, 4)
    assert list(memoryview(infers[1].window).cast("f")) == [2, 3, 4, 5, 12, 13, 14, 15]


def test_model_window_never_spans_a_reading_without_its_value() -> None:
    machine = engine()
    rows = [reading(k, temp=float(k), load=None if k == 3 else 1.0) for k in range(8)]
    assert [i.refs[0].first for i in of(Infer, run(machine, *rows))] == [4]


def test_invalid_prediction_is_recorded_and_unknown_to_rules() -> None:
    machine = engine(OVERHEAT)
    effects = run(machine, tick(0), served(0), reading(1, temp=20.0), prediction(1, 0.1), prediction(2, None))
    assert [r.seq for r in of(RecordPrediction, effects)] == [0, 1]
    assert machine.values[machine._plan.names.index("bearing.score")] is UNKNOWN


def test_three_inputs_in_a_row_without_a_valid_output_cost_the_trust_and_one_valid_restores_it() -> None:
    machine = engine()
    slot = machine._plan.names.index("bearing.trust")
    run(machine, tick(0), served(0), prediction(1, 0.1), prediction(2, None), prediction(3, None))
    assert machine.values[slot] == "trusted"
    run(machine, prediction(4, None))
    assert machine.values[slot] == "degraded"
    run(machine, prediction(5, 0.1))
    assert machine.values[slot] == "trusted"


def test_model_that_did_not_answer_leaves_its_last_output_until_that_is_stale() -> None:
    machine = engine()
    slot = machine._plan.names.index("bearing.score")
    late = msgspec.structs.replace(prediction(2, None), answered=False)
    run(machine, tick(0), served(0), prediction(1, 0.3), late)
    assert machine.values[slot] == 0.3
    run(machine, tick(6))
    assert machine.values[slot] is UNKNOWN


def test_rungs_go_down_and_up_one_visible_step_at_a_time() -> None:
    machine = engine()
    effects = run(
        machine, tick(0), served(0), prediction(1, 0.1), served(2, "unavailable"), tick(7), served(8),
        prediction(8, 0.1),
    )
    alerts = [(a.state, a.text.split(":")[0]) for a in of(Alert, effects) if a.dedupe_key == "agent/rung"]
    assert alerts == [("raised", "rung last-good"), ("raised", "rung rules-only"), ("cleared", "rung full")]


def test_model_that_never_came_up_is_an_alert() -> None:
    effects = run(engine(), tick(0), served(1, "unavailable"), served(2, "unavailable"), served(9))
    states = [(a.state, a.text) for a in of(Alert, effects) if a.dedupe_key == "model/bearing"]
    assert states == [
        ("raised", "model bearing is unavailable: deadline missed"), ("cleared", "model bearing is trusted"),
    ]  # fmt: skip


def test_last_good_output_serves_until_it_is_stale() -> None:
    machine = engine()
    slot = machine._plan.names.index("bearing.score")
    run(machine, tick(0), served(0), prediction(1, 0.3), served(2, "unavailable"), tick(5.9))
    assert machine.values[slot] == 0.3
    run(machine, tick(6))
    assert machine.values[slot] is UNKNOWN


def test_quarantined_model_is_not_believed_for_another_moment() -> None:
    machine = engine()
    run(machine, tick(0), served(0), prediction(1, 0.3), served(2, "quarantined"))
    assert machine.values[machine._plan.names.index("bearing.score")] is UNKNOWN


def test_failed_action_raises_an_alert_that_the_next_good_one_clears() -> None:
    machine = engine(OVERHEAT)
    first = of(Act, run(machine, tick(0), reading(1, temp=95.0)))[0]
    effects = run(machine, Receipt(first.id, "press", False, at(3), "no answer"))
    assert [a.dedupe_key for a in of(Alert, effects)] == ["actuator/press"]
    second = of(Act, run(machine, reading(4, temp=20.0)))[0]
    effects = run(machine, Receipt(second.id, "press", True, at(5), read_back=1))
    assert [a.state for a in of(Alert, effects)] == ["cleared"]
    assert of(Decision, effects)[0].action == {
        "set": "press.relay", "value": 1, "result": "done", "read_back": 1,
    }  # fmt: skip


def test_held_rule_decides_but_does_not_act_until_the_hold_expires() -> None:
    machine = engine(OVERHEAT)
    hold = Command("hold", {"rule": "overheat", "for_s": 10, "why": "cleaning"}, "ann", at(1))
    effects = run(machine, tick(0), hold, reading(2, temp=95.0))
    assert of(Act, effects) == []
    raised = of(Decision, effects)[-1]
    assert raised.overrides == ("held by ann: cleaning",)
    assert raised.action == {"set": "press.relay", "value": 0, "result": "suppressed"}
    assert outcomes(run(machine, tick(11))) == ["released"]


def test_acknowledged_alert_is_still_raised() -> None:
    machine = engine(OVERHEAT)
    alert = next(a for a in of(Alert, run(machine, tick(0), reading(1, temp=95.0))) if "rule" in a.dedupe_key)
    effects = run(machine, Command("ack", {"alert": alert.alert_id}, "ann", at(2)))
    assert [(a.state, a.alert_id) for a in of(Alert, effects)] == [("ack", alert.alert_id)]
    assert alert.alert_id in [a.alert_id for a in machine.raised()]


EVENTS = st.one_of(
    st.tuples(st.just("reading"), st.floats(allow_nan=True, width=32), st.floats(0, 5)),
    st.tuples(st.just("prediction"), st.one_of(st.none(), st.floats(0, 1)), st.floats(0, 5)),
    st.tuples(st.just("lane"), st.sampled_from(["trusted", "unavailable", "quarantined"]), st.floats(0, 5)),
    st.tuples(st.just("tick"), st.none(), st.floats(0, 40)),
    st.tuples(st.just("lost"), st.integers(1, 9), st.floats(0, 5)),
)


@given(st.lists(EVENTS, max_size=60))
def test_same_events_give_the_same_effects_byte_for_byte(script: list[tuple[str, object, float]]) -> None:
    events: list[object] = []
    now = 0.0
    for kind, what, gap in script:
        now += gap
        match kind:
            case "reading":
                events.append(reading(now, temp=what, load=1.0))
            case "prediction":
                events.append(prediction(now, what))  # type: ignore[arg-type]
            case "lane":
                events.append(LaneChange("bearing", str(what), at(now)))
            case "lost":
                events.append(Lost("motor", int(str(what)), "overload", at(now)))
            case _:
                events.append(tick(now))
    signals = (SignalConfig(name="motor.mean", of="motor.temp", fn="mean", window="20s"),)
    rule = RuleConfig(id="warm", when="motor.mean > 50", for_="3s", otherwise='absent(motor.temp, "15s")')
    first = run(engine(OVERHEAT, rule, signals=signals), *events)
    again = run(engine(OVERHEAT, rule, signals=signals), *events)
    assert msgspec.msgpack.encode(first) == msgspec.msgpack.encode(again)
    for stream in ("motor", "infer-bearing"):
        seqs = [r.seq for r in of(Record, first) if r.reading.stream == stream]
        seqs += [r.seq for r in of(RecordPrediction, first) if stream.startswith("infer")]
        seqs += [s for g in of(Gap, first) if g.stream == stream for s in range(g.first, g.last + 1)]
        assert sorted(seqs) == list(range(len(seqs)))
    assert [d.seq for d in of(Decision, first)] == list(range(len(of(Decision, first))))


def test_raised_and_latched_rules_their_alerts_and_acknowledgements_survive_a_restart() -> None:
    latched = RuleConfig(id="latched", when="motor.temp > 50", for_="0s", latch=True)
    first = engine(OVERHEAT, latched)
    alert = next(a for a in of(Alert, run(first, tick(0), reading(1, temp=95.0))) if a.dedupe_key == "rule/overheat")
    run(first, Command("ack", {"alert": alert.alert_id}, "ann", at(2)), reading(3, temp=80.0))
    plan = first._plan
    again = Engine(plan, epoch="E2", before=first.remember())
    effects = run(again, tick(100), reading(101, temp=80.0))
    assert again.phases() == {"overheat": "raised", "latched": "raised"}
    assert [(a.target, a.value) for a in of(Act, effects)] == [("relay", 0)], "commanded again, once"
    assert [d.outcome for d in of(Decision, effects) if d.rule == "overheat"][:1] == ["restored"]
    assert [a for a in of(Alert, effects) if a.dedupe_key.startswith("rule/")] == []
    assert alert.alert_id in [a.alert_id for a in again.raised()]
    assert again.acked() == {alert.alert_id: "ann"}
    cleared = run(again, reading(102, temp=20.0))
    assert [(a.alert_id, a.state) for a in of(Alert, cleared)] == [(alert.alert_id, "cleared")]
    assert again.phases() == {"overheat": "normal", "latched": "latched"}


def test_backlog_that_was_stale_when_it_came_clears_nothing_and_raises_nothing() -> None:
    first = engine(OVERHEAT)
    run(first, tick(0), reading(1, temp=95.0))
    after = again(first.remember())
    # a device held these back while the gateway was down
    effects = run(after, tick(100), *(reading(k, temp=20.0) for k in range(60, 90)), reading(100, temp=95.0))
    assert after.phases()["overheat"] == "raised"
    assert [a.value for a in of(Act, effects)] == [0], "commanded again at the start, and nothing since"
    assert len(of(Record, effects)) == 31
    effects = run(after, reading(101, temp=20.0), reading(50, temp=95.0), reading(101.5, temp=20.0))
    assert [a.value for a in of(Act, effects)] == [1], "what is fresh clears it, and no old heat raises it again"


def test_windows_take_backlog_at_its_own_time() -> None:
    mean = SignalConfig(name="motor.mean", of="motor.temp", fn="mean", window="60s")
    machine = engine(RuleConfig(id="warm", when="motor.mean > 50", for_="0s"), signals=(mean,))
    run(machine, tick(100), *(reading(k, temp=80.0) for k in range(60, 90)))
    assert machine.phases() == {"warm": "raised"}


def test_prediction_on_backlog_decides_nothing() -> None:
    machine = engine(RuleConfig(id="wear", when="bearing.score > 0.8", otherwise="motor.temp > 90", for_="0s"))
    stale = msgspec.structs.replace(prediction(90, 0.9), stamp=at(100))
    effects = run(machine, tick(99), served(99), reading(99, temp=20.0), stale)
    assert "raised" not in outcomes(effects)
    assert not machine.lanes()["bearing"].fresh
    assert len(of(RecordPrediction, effects)) == 1


def test_what_a_rule_would_have_done_during_a_hold_is_done_at_its_end() -> None:
    machine = engine(OVERHEAT)
    hold = Command("hold", {"rule": "overheat", "for_s": 10, "why": "cleaning"}, "ann", at(1))
    run(machine, tick(0), hold, reading(2, temp=95.0))
    effects = run(machine, reading(9, temp=96.0), tick(11))
    assert [(a.target, a.value) for a in of(Act, effects)] == [("relay", 0)]
    assert [(a.dedupe_key, a.state) for a in of(Alert, effects)] == [("rule/overheat", "raised")]
    release = Command("hold", {"rule": "overheat", "for_s": 10}, "ann", at(12))
    run(machine, release, reading(13, temp=20.0))
    effects = run(machine, Command("release", {"rule": "overheat"}, "bob", at(14)))
    assert [(a.target, a.value) for a in of(Act, effects)] == [("relay", 1)]
    assert [(a.dedupe_key, a.state) for a in of(Alert, effects)] == [("rule/overheat", "cleared")]


def test_reset_of_a_rule_that_reads_a_model_goes_through() -> None:
    machine = engine(RuleConfig(id="wear", when="bearing.score > 0.8", otherwise="motor.temp > 90", latch=True))
    run(machine, tick(0), served(0), prediction(1, 0.9), prediction(2, 0.1))
    effects = run(machine, Command("reset", {"rule": "wear"}, "ann", at(3)))
    assert outcomes(effects) == ["reset"]


HELD = Command("hold", {"rule": "overheat", "for_s": 10, "why": "cleaning"}, "ann", at(1))


def again(before: Remembered) -> Engine:
    plan, _ = make_plan(site(OVERHEAT), FIELDS, LANES)
    return Engine(plan, epoch="E2", before=before)


def test_hold_survives_a_restart_and_ends_when_it_would_have() -> None:
    machine = engine(OVERHEAT)
    run(machine, tick(0), HELD, reading(2, temp=95.0))
    after = again(machine.remember())
    effects = run(after, tick(3), reading(4, temp=96.0))
    assert of(Act, effects) == [], "a rule that is held commands nothing, also not again"
    assert next((d.outcome, d.overrides) for d in of(Decision, effects)) == (
        "held", ("held by ann: cleaning, since before a restart",),
    )  # fmt: skip
    assert [a.value for a in of(Act, run(after, tick(12)))] == [0], "at its end, what still stands is done"


@pytest.mark.parametrize("boot", ["", "another boot"])
def test_restored_hold_is_no_longer_than_a_hold_may_be(boot: str) -> None:
    machine = engine(OVERHEAT)
    run(machine, tick(0), HELD)
    before = machine.remember()
    endless = msgspec.structs.replace(before.holds["overheat"], for_ns=2**63 - 1)
    after = again(msgspec.structs.replace(before, holds={"overheat": endless}))
    now = Stamp(at(2).mono_ns, at(2).wall_ns, ClockQuality.SYNCED, boot or at(2).boot)
    after.handle(Tick(now))
    assert after.holds()["overheat"].until_ns <= now.mono_ns + LONGEST_HOLD_NS
    assert after.next_deadline() <= now.mono_ns + LONGEST_HOLD_NS


@pytest.mark.parametrize(
    ("quality", "off_s", "left_s"),
    [
        (ClockQuality.SYNCED, 4, 6),
        (ClockQuality.SYNCED, -500, 10),
        (ClockQuality.SYNCED, 500, 0),
        (ClockQuality.GUESSED, 4, 10),
    ],
)
def test_hold_of_another_boot_goes_by_wall_time_where_that_is_known(
    quality: ClockQuality, off_s: float, left_s: float
) -> None:
    machine = engine(OVERHEAT)
    run(machine, tick(0), HELD)
    since = at(1 + off_s)
    after = again(machine.remember())
    after.handle(Tick(Stamp(5_000_000_000, since.wall_ns, quality, "another boot")))
    held = after.holds().get("overheat")
    assert (held.until_ns - 5_000_000_000 if held else 0) == left_s * 1e9
