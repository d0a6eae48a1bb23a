"""What was commanded is known after a power cut, and nothing is done twice."""

from __future__ import annotations

import msgspec
import pytest

from edge_agent.clock import FakeClock
from edge_agent.commands.envelope import Keyring
from edge_agent.commands.intake import Intake
from edge_agent.commands.log import FLOORS, LOG, CommandLog
from edge_agent.contract.messages import Cmd, CmdResult
from edge_agent.errors import Retryable
from edge_agent.health import PartHealth
from edge_agent.ports import Inbound
from tests.commands.signing import GATEWAY, KEYS, NOW_MS, signed, ulid


def opened(folder, store="one"):
    (folder / "store").mkdir(exist_ok=True)
    return CommandLog(folder, folder / "store", store)


def command(n):
    return msgspec.json.decode(signed(n), type=Cmd)


def done(n):
    return CmdResult(id=ulid(n), state="done", code="", t=1)


def test_floor_and_answer_are_there_after_a_restart(tmp_path):
    log = opened(tmp_path)
    log.take(command(5), "key", 1)
    log.step(done(5))
    again = opened(tmp_path)
    assert (again.floors, again.results) == ({"key": 5}, {ulid(5): done(5)})


def test_a_command_without_an_end_is_interrupted(tmp_path):
    opened(tmp_path).take(command(5), "key", 1)
    assert [r.id for r in opened(tmp_path).interrupted()] == [ulid(5)]


def test_another_database_knows_no_answers_and_every_floor(tmp_path):
    log = opened(tmp_path)
    log.take(command(5), "key", 1)
    log.step(done(5))
    other = opened(tmp_path, "two")
    assert (other.floors, other.results) == ({"key": 5}, {})


def test_a_command_without_an_end_is_interrupted_also_when_the_store_went_on_in_another_file(tmp_path):
    log = opened(tmp_path)
    log.take(command(5), "key", 1)
    killed_at_once = CommandLog(tmp_path, tmp_path / "store", "two", before=["one"])
    assert [r.id for r in killed_at_once.interrupted()] == [ulid(5)]
    log.follow("two")
    log.take(command(6), "key", 1)
    assert [r.id for r in opened(tmp_path, "two").interrupted()] == [ulid(5), ulid(6)]
    assert opened(tmp_path, "one").results == {}


class Commanded:
    """An intake, its log, and what it says; `store` and `unkept` are what it asks for."""

    def __init__(self, folder):
        self.folder, self.store, self.unkept, self.executed = folder, "one", "", []
        self.clock = FakeClock(wall_ns=NOW_MS * 1_000_000)
        self.intake = Intake(
            GATEWAY, Keyring(KEYS), opened(folder), clock=self.clock, utc_ms=lambda _: NOW_MS,
            execute=lambda *args: self.executed.append(args), health=PartHealth("commands"),
            tell_desired=lambda _: None, report=lambda *_: None,
            store=lambda: self.store, unkept=lambda: self.unkept,
        )  # fmt: skip

    def said(self):
        replies = [msgspec.json.decode(r.body) for r in self.intake.replies()]
        return [(r["state"], r["code"]) for r in replies]

    def hold(self, n):
        body = signed(n, now_ms=self.clock.now().wall_ns // 1_000_000)
        self.intake.take(Inbound(GATEWAY.down("cmd", "rule-hold"), body, retained=False))
        return self.said()

    def commit(self, n):
        """The engine has carried it out, and the store's thread has written what it remembers, or could not."""
        self.intake.carried_out(ulid(n))
        self.intake.kept(self.intake.handled())
        return self.said()


def test_what_runs_while_the_store_goes_on_in_another_file_is_interrupted_by_a_kill(tmp_path):
    box = Commanded(tmp_path)
    box.hold(5)
    box.store = "two"
    assert box.said() == []
    assert [r.id for r in opened(tmp_path, "two").interrupted()] == [ulid(5)]


def test_command_is_done_only_when_what_came_of_it_is_on_the_disk(tmp_path):
    box = Commanded(tmp_path)
    assert box.hold(5) == [("accepted", ""), ("running", "")]
    box.unkept = "rules.json cannot be written"
    assert box.commit(5) == []
    box.unkept = ""
    assert box.commit(5) == [("done", "")]


def test_command_that_was_carried_out_and_cannot_be_kept_is_failed(tmp_path):
    box = Commanded(tmp_path)
    box.hold(5)
    box.unkept = "rules.json cannot be written"
    box.commit(5)
    box.clock.advance(3)
    assert box.said() == [("failed", "not_kept")]
    assert "it was carried out" in opened(tmp_path).results[ulid(5)].why
    box.unkept = ""
    assert box.commit(5) == []


def test_command_is_not_carried_out_while_it_is_known_that_it_cannot_be_kept(tmp_path):
    box = Commanded(tmp_path)
    box.unkept = "rules.json cannot be written"
    assert box.hold(5) == [("failed", "not_kept")]
    assert box.executed == []
    box.unkept = ""
    box.clock.advance(1)
    assert box.hold(5) == [("accepted", ""), ("running", "")]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_half_a_line_costs_that_line_only_and_the_next_is_whole(tmp_path, cut):
    log = opened(tmp_path)
    for n in (1, 2):
        log.take(command(n), "key", 1)
        log.step(done(n))
    path = tmp_path / "store" / LOG
    path.write_bytes(path.read_bytes()[:-cut])
    again = opened(tmp_path)
    assert again.results[ulid(1)] == done(1)
    again.take(command(3), "key", 1)
    assert opened(tmp_path).results[ulid(3)].state == "accepted"


def test_a_thousand_answers_are_kept_and_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.commands.log.os.fsync", lambda _: None)
    log = opened(tmp_path)
    for n in range(5000):
        log.step(done(n))
    assert (tmp_path / "store" / LOG).stat().st_size < 500_000
    assert ulid(4999) in opened(tmp_path).results


def test_a_disk_that_refuses_takes_nothing(tmp_path):
    log = opened(tmp_path)
    log.take(command(1), "key", 1)
    (tmp_path / f"{FLOORS}.new").mkdir()
    with pytest.raises(Retryable):
        log.take(command(2), "key", 1)
    assert (log.floors, list(log.results)) == ({"key": 1}, [ulid(1)])


@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"[" * 100_000, b'{"floors":{"k":' + b"1" * 23 + b"}}", b'{"floors":{"k":-1}}', None]
)
def test_damaged_floors_refuse_commands_until_all_of_before_have_expired_and_nothing_else(tmp_path, content):
    path = tmp_path / FLOORS
    path.mkdir() if content is None else path.write_bytes(content)
    clock = FakeClock(wall_ns=NOW_MS * 1_000_000)
    told, health = [], PartHealth("commands")
    intake = Intake(
        GATEWAY, Keyring(KEYS), opened(tmp_path), clock=clock, utc_ms=lambda _: NOW_MS, execute=lambda *_: None,
        health=health, tell_desired=lambda _: None, report=lambda up, why: told.append((up, FLOORS in why)),
        store=lambda: "one", unkept=lambda: "",
    )  # fmt: skip

    def answer(n):
        now_ms = clock.now().wall_ns // 1_000_000
        intake.take(Inbound(GATEWAY.down("cmd", "rule-hold"), signed(n, now_ms=now_ms), retained=False))
        return [msgspec.json.decode(r.body)["code"] for r in intake.replies()]

    assert told == [(False, True)]
    assert answer(5) == ["floors_unknown"]
    clock.advance(329)
    assert (intake.replies(), answer(6)) == ([], ["floors_unknown"])
    assert health.value("refused_floors_unknown") == 2
    if content is None:
        path.rmdir()
    clock.advance(2)
    intake.replies()
    assert answer(7) == ["", ""]
    assert (told, opened(tmp_path).floors) == ([(False, True), (True, False)], {KEYS[0].fingerprint: 7})
