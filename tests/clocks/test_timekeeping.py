"""What a box knows of its boots' clocks outlives agent, power and a broken file; what nobody knew stays open."""

import json
from pathlib import Path

import pytest
from doubles.mosquitto import Mosquitto

from edge_agent import timekeeping
from edge_agent.clock import FakeClock, SystemClock
from edge_agent.clock_watch import Kernel
from edge_agent.contract import decode
from edge_agent.timekeeping import Timekeeper, ask_kernel
from tests.clocks.scene import NOW_S, RELEASED_S, Scene, Subscriber
from tests.clocks.test_clock_steps import all_arrived

OFFSET_MS = round(NOW_S * 1e3) - 100_000


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path, "max_queued_messages 0", verbose=False) as broker:
        yield broker


def keeper_of(path, *, wall_s=NOW_S, synced=True, boot="boot-a", vouching="ntp", mono_s=100.0):
    clock = FakeClock(mono_ns=int(mono_s * 1e9), wall_ns=int(wall_s * 1e9), boot=boot)
    keeper = Timekeeper(clock, path, vouching, kernel=lambda: Kernel(synced, 25), released_s=RELEASED_S)
    keeper.keep()
    return keeper


def declared(keeper):
    fixes = []
    keeper.turn(fixes.extend, lambda up, reason: None)
    return [(fix.boot, fix.offset_ms) for fix in fixes]


def test_a_restart_within_the_boot_dates_what_the_run_before_only_guessed(tmp_path, mosquitto):
    first = Scene(tmp_path, wall_s=0.0, port=mosquitto.port)
    first.play(10)
    first.close()
    backend = Subscriber(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    second = Scene(tmp_path, wall_s=NOW_S + 12, mono_s=112.0, port=mosquitto.port)
    second.synced = True
    second.play(3)
    second.connect()
    all_arrived(second, backend, first)
    readings = {key: told for key, told in backend.told.items() if key[0] == "motor"}
    second.close()
    backend.stop()
    assert {key[1] for key in readings} == {first.writer.epoch, second.writer.epoch}
    assert {t - m for t, m, _, _ in readings.values()} == {OFFSET_MS}
    assert {tq for _, _, tq, _ in readings.values()} == {"synced"}


def test_rows_of_a_boot_before_are_dated_with_what_that_boot_knew(tmp_path, mosquitto):
    known = Scene(tmp_path, wall_s=0.0)
    known.play(5)
    known.set_wall(NOW_S + 5, by_time_service=True)
    known.play(5)
    known.close()
    backend = Subscriber(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    after = Scene(tmp_path, wall_s=0.0, mono_s=20.0, boot="boot-b", port=mosquitto.port)
    after.play(3)
    after.connect()
    all_arrived(after, backend, known)
    after.close()
    backend.stop()
    assert backend.fixes["boot-a"] == OFFSET_MS, "told again in the boot after, since a power cut may have taken it"
    by_boot = {}
    for t, m, tq, boot in backend.told.values():
        by_boot.setdefault(boot, set()).add((None if t is None else t - m, tq))
    assert by_boot["boot-a"] == {(OFFSET_MS, "synced")}
    assert by_boot["boot-b"] == {(None, "guessed")}, "1970 is known to be wrong and goes out as null"


def test_a_boot_whose_clock_was_never_right_stays_undated_and_nothing_is_invented(tmp_path, mosquitto):
    never = Scene(tmp_path, wall_s=RELEASED_S + 50_000.0)
    never.play(5)
    never.close()
    long_ago = Scene(tmp_path, wall_s=0.0, mono_s=20.0, boot="boot-b")
    long_ago.play(5)
    long_ago.close()
    backend = Subscriber(mosquitto.port)
    backend.start()
    assert backend.subscribed.wait(10)
    right = Scene(tmp_path, wall_s=NOW_S, boot="boot-c", port=mosquitto.port)
    right.synced = True
    right.play(3)
    right.connect()
    all_arrived(right, backend, never, long_ago)
    times = backend.times_ms()
    right.close()
    backend.stop()
    assert set(backend.fixes) == {"boot-c"}
    assert {t for t, _, boot in times.values() if boot == "boot-b"} == {None}
    guessed = {told[2] for told in backend.told.values() if told[3] == "boot-a"}
    assert guessed == {"guessed"}, "a guess that may be true is told as one"
    assert {t - m for t, m, boot in times.values() if boot == "boot-c"} == {OFFSET_MS}


def test_the_time_of_day_is_right_as_soon_as_it_was_once_and_never_made_up(tmp_path):
    scene = Scene(tmp_path, wall_s=0.0)
    said = []

    def ask():
        scene.play(2)
        said.append(scene.keeper.utc_ms(scene.clock.now()))

    ask()
    scene.set_wall(NOW_S + 2, by_time_service=True)
    ask()
    scene.step(-3600)
    ask()
    scene.step(31_536_000)
    ask()
    scene.close()
    assert said == [None, *(round((NOW_S + s) * 1e3) for s in (4, 6, 8))]


def test_the_floor_is_the_newest_time_that_was_right(tmp_path):
    path = tmp_path / "clock.json"
    keeper_of(path).close()
    again = keeper_of(path, wall_s=NOW_S - 60, boot="boot-b", synced=None)
    assert again.to_dict()["why_not"].startswith("it shows a time that has passed already: set it right")
    assert "delete clock.json" in again.to_dict()["why_not"]
    assert again.offset_ms("boot-b") is None
    assert again.offset_ms("boot-a") == OFFSET_MS


def test_a_time_service_that_was_wrong_for_a_minute_does_not_hold_the_clock_for_decades(tmp_path):
    path, ahead_s = tmp_path / "clock.json", 30 * 31_536_000
    keeper_of(path, wall_s=NOW_S + ahead_s).close()
    assert not keeper_of(path, boot="boot-b", synced=None).to_dict()["synced"], "nobody vouches for the earlier one"
    again = keeper_of(path, boot="boot-c")
    assert again.to_dict()["synced"]
    again.close()
    assert json.loads(path.read_bytes())["saved_ms"] == round(NOW_S * 1e3)
    assert keeper_of(path, boot="boot-d", synced=None, wall_s=NOW_S + 60).to_dict()["synced"]


def test_a_time_that_was_not_right_never_raises_the_floor(tmp_path):
    path = tmp_path / "clock.json"
    keeper = keeper_of(path)
    keeper._clock.step_wall(31_536_000)
    keeper._kernel = lambda: Kernel(False)
    keeper.turn(lambda _: None, lambda up, reason: None)
    keeper.close()
    assert keeper_of(path, boot="boot-b").to_dict()["synced"]


def test_a_box_without_time_service_is_not_believed_again_by_a_mere_restart_of_the_agent(tmp_path):
    path = tmp_path / "clock.json"
    keeper_of(path, vouching="rtc", synced=False)
    year = 31_536_000
    restarted = keeper_of(path, vouching="rtc", synced=False, wall_s=NOW_S + year)
    assert restarted.to_dict()["why_not"] == "it was set since the start of the box"
    rebooted = keeper_of(path, vouching="rtc", synced=False, wall_s=NOW_S + year, boot="boot-b")
    assert rebooted.to_dict()["synced"]


def test_each_fix_is_declared_once_and_that_of_the_boot_before_once_more(tmp_path):
    path = tmp_path / "clock.json"
    keeper = keeper_of(path)
    assert declared(keeper) == [("boot-a", OFFSET_MS)]
    assert declared(keeper) == []
    assert declared(keeper_of(path, boot="boot-b", wall_s=NOW_S + 500)) == [
        ("boot-a", OFFSET_MS), ("boot-b", OFFSET_MS + 500_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b'{"saved_ms":"x"}', b'{"saved_ms":9999999999999999}', b"{" * 9999],
)
def test_a_broken_file_costs_no_start(tmp_path, content):
    path = tmp_path / "clock.json"
    path.write_bytes(content)
    keeper = keeper_of(path)
    assert keeper.floor_ms == RELEASED_S * 1000
    assert declared(keeper) == [("boot-a", OFFSET_MS)]
    (boot,) = json.loads(path.read_bytes())["boots"]
    assert boot == {"boot": "boot-a", "offset_ms": OFFSET_MS, "uncertainty_ms": 25}


def test_a_disk_that_refuses_is_told_until_it_takes_it(tmp_path):
    keeper, told = keeper_of(tmp_path / "not there yet" / "clock.json"), []
    keeper.keep(lambda up, why: told.append((up, "clock.json cannot be written" in why)))
    (tmp_path / "not there yet").mkdir()
    for _ in range(2):
        keeper.keep(lambda up, why: told.append((up, why)))
    assert told == [(False, True), (True, "")]


def test_a_disk_that_refuses_is_asked_again(tmp_path):
    path = tmp_path / "not there yet" / "clock.json"
    keeper = keeper_of(path)
    path.parent.mkdir()
    keeper.keep()
    assert path.exists()


def test_looking_at_the_clock_never_waits_for_the_disk(tmp_path, monkeypatch):
    def no_disk(*_):
        raise AssertionError("the main thread writes to the disk")

    monkeypatch.setattr(timekeeping, "replace_file", no_disk)
    clock = FakeClock(wall_ns=int(NOW_S * 1e9))
    keeper = Timekeeper(clock, tmp_path / "clock.json", "ntp", kernel=lambda: Kernel(True, 25), released_s=RELEASED_S)
    for _ in range(100):
        clock.advance(60)
        declared(keeper)
    clock.step_wall(30)
    declared(keeper)


def test_the_kernel_of_this_machine_answers():
    kernel = ask_kernel()
    assert kernel.synced in (True, False, None)
    assert kernel.error_ms >= 0
    keeper = Timekeeper(SystemClock(), Path("/nowhere/clock.json"), "ntp")
    assert keeper.to_dict()["vouched_by"] == "ntp"


def test_a_time_fix_says_what_it_corrects(tmp_path):
    scene = Scene(tmp_path, wall_s=NOW_S)
    scene.synced = True
    scene.play(3)
    ledger = [decode.decode_row(row.body) for row in scene.outbox.unacked(0, 0, 100) if row.kind == "ledger"]
    scene.close()
    fixes = [(e.boot, e.offset_ms, e.uncertainty_ms) for e in ledger if type(e).__name__ == "TimeFix"]
    assert fixes == [("boot-a", OFFSET_MS, 25)]


@pytest.mark.parametrize(
    "content",
    [
        b'{"z":' + b"[" * 100_000,
        b'{"saved_ms":1,"boots":[{"boot":"x","offset_ms":1%b,"uncertainty_ms":1}]}' % (b"0" * 30),
        b'{"boots":[{"boot":"\xe9"}]}',
    ],
    ids=["deep", "huge", "no UTF-8"],
)
def test_file_that_cannot_be_read_is_as_none(tmp_path, content):
    path = tmp_path / "clock.json"
    path.write_bytes(content)
    keeper = keeper_of(path)
    assert (keeper.to_dict()["synced"], keeper.offset_ms("x")) == (True, None)
