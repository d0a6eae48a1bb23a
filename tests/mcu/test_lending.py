"""The agent's side of `edge-agent mcu`: whose a port is, and sets that wait for their turn."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_agent.api import Caller, Refusal
from edge_agent.clock import FakeClock
from edge_agent.config.site import AgentConfig, McuConfig, SiteConfig
from edge_agent.types import Command
from edge_agent.updates import Updates
from tests.e2e.harness import wait_until

PERSON = Caller(1000, 1000, True)


class Ports:
    """links.registry.Links, with one board whose commands end when they may."""

    def __init__(self) -> None:
        self.lent: dict[str, bool] = {}
        self.may_end = threading.Event()
        self.carried_out: list[str] = []

    def lend(self, device: str, why: str) -> None:
        self.lent[device] = bool(why)

    def take_back(self, device: str) -> None:
        self.lent[device] = False

    def bridge(self, _: str) -> Ports:
        return self

    def command(self, _number: int, target: str, value: object, _timeout_s: float) -> object:
        self.may_end.wait(20)
        self.carried_out.append(target)
        return SimpleNamespace(outcome="done", value=value)


class House:
    """Updates for the device press, as the control socket sees it."""

    def __init__(self, data_dir: Path = Path("/proc/nowhere")) -> None:
        self.clock, self.ports = FakeClock(), Ports()
        agent = AgentConfig(gateway="gw1", data_dir=str(data_dir))
        site = SiteConfig(agent=agent, mcu=(McuConfig(name="press", port="/dev/press"),))
        rules = SimpleNamespace(phases=dict)
        self.told: list[object] = []
        self.updates = Updates(site, self.ports, rules, clock=self.clock, post=self.told.extend)
        self._verbs = self.updates.verbs()

    def ask(self, verb: str, caller: Caller = PERSON, **args: object) -> object:
        return self._verbs[verb](caller, {"mcu": "press", **args})

    def __enter__(self) -> House:
        self._thread = threading.Thread(target=self.updates.run)
        self._thread.start()
        wait_until(lambda: self.told, 20, "it runs")
        return self

    def __exit__(self, *_: object) -> None:
        self.ports.may_end.set()
        self.updates.stop()
        self._thread.join(20)


def test_port_of_another_command_is_refused_and_the_person_is_named() -> None:
    house = House()
    house.ask("mcu_lend", token="a")
    house.ask("mcu_lend", token="a")
    house.ask("mcu_report", token="a", stage="upload")
    for caller, token in ((PERSON, "b"), (Caller(0, 0, True), "a")):
        with pytest.raises(Refusal, match="press: another command, of uid 1000, is at it: upload") as refused:
            house.ask("mcu_lend", caller, token=token)
        assert refused.value.code == "busy"
    assert house.updates.to_list()[0]["by"] == "uid 1000"


class Gap:
    """A lock that lets `through` in as soon as it is free for the first time."""

    def __init__(self, lock: threading.Condition, through: Callable[[], None]) -> None:
        self._lock, self._depth = lock, 0
        self._through: Callable[[], None] | None = through

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._lock.release()
        if not self._depth and self._through is not None:
            through, self._through = self._through, None
            through()


def test_report_is_not_accepted_from_a_command_that_loses_its_port() -> None:
    house = House()
    house.ask("mcu_lend", token="a", update=True, version="1.1.0")
    house.clock.advance(10.5)
    accepted: list[bool] = []

    def report() -> None:
        try:
            house.ask("mcu_report", token="a", stage="upload")
        except Refusal as e:
            accepted.append(e.code != "not_lent")
        else:
            accepted.append(True)

    house.updates._changed = Gap(house.updates._changed, report)
    house.updates._take_back_from_the_silent()
    assert accepted == [house.ports.lent["/dev/press"]] == [False]
    assert house.updates.to_list()[0]["end"] == "uncertain"


def test_sets_that_nobody_would_wait_for_are_refused_and_no_result_is_lost() -> None:
    with House() as house:
        numbers = [house.ask("mcu_set", target=f"valve{n}", value=n)["id"] for n in range(3)]
        with pytest.raises(Refusal, match="3 sets are under way") as refused:
            house.ask("mcu_set", target="valve3", value=3)
        assert refused.value.code == "busy"
        assert all(house.ask("mcu_set_result", id=n) == {"waiting": True} for n in numbers)
        house.ports.may_end.set()
        for expected, number in enumerate(numbers):
            wait_until(lambda n=number: house.ask("mcu_set_result", id=n).get("ok"), 20, "its end")
            assert house.ask("mcu_set_result", id=number)["read_back"] == expected
        assert house.ports.carried_out == ["valve0", "valve1", "valve2"]
        for _ in range(70):
            number = house.ask("mcu_set", target="valve", value=1)["id"]
            wait_until(lambda n=number: "ok" in house.ask("mcu_set_result", id=n), 20, "its end")
        with pytest.raises(Refusal, match="no such set"):
            house.ask("mcu_set_result", id=numbers[0])


def carried_out(house: House, **args: object) -> dict[str, object]:
    number = house.ask("mcu_set", **args)["id"]
    house.ports.may_end.set()
    return wait_until(lambda: "ok" in (r := house.ask("mcu_set_result", id=number)) and r, 20, "its end")


def test_set_is_on_record_with_who_what_and_what_became_of_it(tmp_path: Path) -> None:
    with House(tmp_path / "data") as house:
        assert carried_out(house, target="valve", value=7)["off_record"] == ""
        (act,) = [event for event in house.told if isinstance(event, Command)]
    assert (act.name, act.by, act.args) == ("mcu_set", "uid 1000", {"mcu": "press", "target": "valve", "value": 7})
    began, ended = map(json.loads, (tmp_path / "data/mcu/history.jsonl").read_text().splitlines())
    assert (began["end"], ended["end"], ended["read_back"]) == ("began", "done", 7)
    for line in (began, ended):
        assert [line[k] for k in ("by", "mcu", "do", "target", "value")] == ["uid 1000", "press", "set", "valve", 7]
        assert line["t"]


def test_set_that_cannot_be_recorded_is_carried_out_and_says_so() -> None:
    with House() as house:
        result = carried_out(house, target="valve", value=7)
    assert (result["ok"], house.ports.carried_out) == (True, ["valve"])
    assert "/proc/nowhere" in str(result["off_record"])


def test_sets_of_a_run_that_broke_are_not_carried_out_by_the_next() -> None:
    house = House()
    number = house.ask("mcu_set", target="valve", value=1)["id"]
    with house:
        wait_until(lambda: house.ask("mcu_set_result", id=number).get("ok") is False, 20, "it is given up")
    assert house.ports.carried_out == []
