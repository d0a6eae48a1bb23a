"""Rows 7 and 8 of the failure modes: a boot in 1970, steps to now, back an hour and forward a year change nothing but
what the wall clock says, and what it should have said reaches the subscriber."""

import time

import pytest
from doubles.mosquitto import Mosquitto

from edge_agent.types import Alert, Decision, Record
from tests.clocks.scene import HOUR_S, NOW_S, YEAR_S, Scene, Subscriber

PHASE_S = 30


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path, "max_queued_messages 0", verbose=False) as broker:
        yield broker


def live_through(scene, steps=True, after_each=lambda: None):
    """1970, now, an hour back, a year forward, now again; returns UTC less monotonic time in ms, as it truly is."""
    offset_ms = round(NOW_S * 1e3) - 100_000
    phases = (
        lambda: scene.set_wall(NOW_S + PHASE_S, by_time_service=True),
        lambda: scene.step(-HOUR_S),
        lambda: scene.step(HOUR_S + YEAR_S),
        lambda: scene.set_wall(NOW_S + 4 * PHASE_S, by_time_service=True),
        lambda: None,
    )
    for step in phases:
        scene.play(PHASE_S)
        after_each()
        if steps:
            step()
    return offset_ms


def all_arrived(scene, backend, *before, timeout_s=30):
    """By stream: how many numbers were committed; waits until the backend has them, and those of scenes before."""
    wanted = {s.writer.epoch: {k: v + 1 for k, v in s.writer.last.items() if k != "ledger"} for s in (scene, *before)}
    deadline = time.monotonic() + timeout_s
    while any(backend.received_in(epoch) < sum(of.values()) for epoch, of in wanted.items()) or _waiting(scene):
        assert time.monotonic() < deadline, (wanted, scene.uplink.body.to_dict())
        time.sleep(0.02)
    ledger = scene.writer.last.get("ledger", -1) + 1
    while backend.received_ledger(scene.writer.epoch) < ledger:
        assert time.monotonic() < deadline, "the ledger"
        time.sleep(0.02)
    return wanted[scene.writer.epoch] | {"ledger": ledger}


def _waiting(scene):
    return any(scene.outbox.unsettled(prio) for prio in (0, 1, 2))


def decided(effects, epoch):
    """What was decided and when on the monotonic clock, without the wall time; of rules, not of the clock itself."""
    out = []
    for e in effects:
        if isinstance(e, Decision):
            out.append(("decision", e.rule, e.outcome, e.branch, tuple(e.inputs.items()), e.stamp.mono_ns, e.seq))
        elif isinstance(e, Alert) and "clock" not in e.dedupe_key:
            out.append(("alert", e.dedupe_key, e.state, e.stamp.mono_ns))
        elif isinstance(e, Record):
            out.append((e.seq, e.reading.stamp.mono_ns))
    return out


@pytest.mark.parametrize("vouching", ["ntp", "rtc"])
def test_row_8_windows_and_timers_do_not_notice_any_step_of_the_wall_clock(tmp_path, vouching):
    outcomes = []
    for steps in (True, False):
        scene = Scene(tmp_path / str(steps), vouching=vouching)
        live_through(scene, steps)
        outcomes.append(decided(scene.effects, scene.writer.epoch))
        scene.close()
    assert outcomes[0] == outcomes[1]
    stepped = [o for o in outcomes[0] if o[0] == "decision"]
    assert sum(o[2] == "raised" for o in stepped) >= 10, "both rules went up and down all the way through"
    assert sum(o[2] == "cleared" for o in stepped) >= 10


@pytest.mark.parametrize("vouching", ["ntp", "rtc"])
@pytest.mark.parametrize("sent", ["live", "later"])
def test_row_7_all_times_are_right_at_the_subscriber_after_the_fix(tmp_path, mosquitto, vouching, sent):
    scene = Scene(tmp_path, vouching=vouching, port=mosquitto.port)
    backend = Subscriber(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    if sent == "live":
        scene.connect()
        offset_ms = live_through(scene, after_each=lambda: all_arrived(scene, backend))
    else:
        offset_ms = live_through(scene)
        scene.connect()
    accepted = all_arrived(scene, backend)
    scene.close()
    backend.stop()
    times = backend.times_ms()  # its thread has taken the last row by now
    assert len(times) == sum(n for stream, n in accepted.items() if stream != "ledger")
    wrong = {key: t - m - offset_ms for key, (t, m, _) in times.items() if abs(t - m - offset_ms) > 1}
    assert wrong == {}
    qualities = {told[2] for told in backend.told.values()}
    assert qualities == ({"guessed", "synced"} if sent == "live" else {"synced"})
    verdict = backend.verdict()
    assert (verdict.lost, verdict.conflicts, verdict.refused) == (0, 0, 0)


def test_people_are_told_of_a_step_of_a_clock_that_was_right_and_only_of_that(tmp_path):
    scene = Scene(tmp_path)
    live_through(scene)
    scene.close()
    assert [up for up, _ in scene.reports] == [False, False, True]
    back, forward, _ = (reason for _, reason in scene.reports[:3])
    assert "was set back by 60.0 min" in back
    assert "timedatectl" in back
    assert "was set forward by 365.0 days" in forward
    alerts = [(a.state, a.severity) for a in scene.effects if isinstance(a, Alert) and a.dedupe_key == "health/clock"]
    assert alerts == [("raised", "warning"), ("cleared", "warning")]
    assert scene.keeper.to_dict()["steps"] == 4


def test_a_step_that_the_time_service_made_counts_and_is_told_too(tmp_path):
    scene = Scene(tmp_path, wall_s=NOW_S)
    scene.synced = True
    scene.play(5)
    scene.set_wall(NOW_S + 8.2, by_time_service=True)
    scene.play(5)
    scene.close()
    assert [up for up, _ in scene.reports] == [False, True]
    assert "set forward by 3.2 s; its time service vouches for it" in scene.reports[0][1]
    assert scene.keeper.offset_ms("boot-a") == round((NOW_S + 3.2) * 1e3) - 100_000
