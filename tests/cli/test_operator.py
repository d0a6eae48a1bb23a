"""What a person decides over a running agent: it takes effect, it is on record, and a refusal says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.harness import RunningAgent

from cli.command import AS_NOBODY, SITE, Done, as_nobody, edge_agent, public_folder
from edge_agent.api import Refusal, ask

LATCHING = SITE.replace("motor.speed > 1000", "motor.temp < 60")
"""`fast` is raised while the motor is cold, and latched once it is hot."""


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with public_folder() as folder, RunningAgent(folder, LATCHING, "--record", str(folder / "log")) as running:
        running.wait_for(lambda s: s["rules"] == {"hot": "raised", "fast": "latched"}, 30, "raised and latched")
        yield running


def tell(agent: RunningAgent, *words: str) -> Done:
    return edge_agent(*words, "--site", agent.site)


def test_hold_shows_in_status_and_ends_with_release(agent: RunningAgent) -> None:
    done = tell(agent, "rule", "hold", "hot", "--for", "30m", "--why", "belt is off\x1b[31m")
    assert (done.code, done.out) == (0, "OK   hot is held for 30 min: it decides on, but neither acts nor alerts\n")
    held = agent.wait_for(lambda s: s["holds"], 5, "the hold")["holds"]["hot"]
    assert held["by"] == "uid 0" or held["by"].startswith("uid ")
    assert 1790 < held["left_s"] <= 1800
    page = " ".join(edge_agent("status", agent.site).out.split())
    assert "held hot held, neither acts nor alerts for 30 min more, by uid" in page
    assert "belt is off\\x1b[31m" in page
    assert tell(agent, "rule", "release", "hot").code == 0
    agent.wait_for(lambda s: not s["holds"], 5, "the hold is gone")


def test_ack_shows_in_status_and_the_alert_stays(agent: RunningAgent) -> None:
    alert_id = agent.ask("status")["alerts"][0]["alert_id"]
    done = tell(agent, "alert", "ack", alert_id, "--json")
    assert (done.code, done.document) == (0, {"ok": True, "accepted": "ack"})
    alert = agent.wait_for(lambda s: s["alerts"][0]["acked_by"], 5, "the acknowledgement")["alerts"][0]
    assert alert["alert_id"] == alert_id
    assert "critical, " in edge_agent("status", agent.site).out


def test_reset_clears_a_latched_rule(agent: RunningAgent) -> None:
    assert tell(agent, "rule", "reset", "fast").code == 0
    agent.wait_for(lambda s: s["rules"]["fast"] == "normal", 5, "the reset")


@pytest.mark.parametrize("for_s", [1e30, 10**30, 604_801, 0, -1, True, "600"])
def test_hold_that_no_timer_takes_is_refused_with_the_longest(agent: RunningAgent, for_s: object) -> None:
    with pytest.raises(Refusal, match="for_s is a number of seconds up to 604800"):
        ask(agent.folder / "run" / "agent.sock", "hold", {"rule": "hot", "for_s": for_s})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rule", "hold", "cold"], "no rule 'cold'; edge-agent status --json lists the rules"),
        (["rule", "hold", "hto"], "no rule 'hto': did you mean \"hot\"?; edge-agent status"),
        (["rule", "hold", "hot", "--why", "x" * 201], "why is a text of at most 200 characters"),
        (["rule", "release", "hot"], "nobody holds hot; edge-agent status lists what is held"),
        (["rule", "reset", "hot"], "hot is raised: only a latched rule can be reset"),
        (["alert", "ack", "a-0"], "no raised alert 'a-0'; edge-agent status lists the alerts"),
        (["alert", "ack", "x" * 70_000], "no agent's answer"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_refusal_says_why_and_what_to_type(agent: RunningAgent, words: list[str], told: str) -> None:
    done = tell(agent, *words)
    assert done.code == (3 if len(done.err) and "no agent" in told else 1), done
    assert told in done.err
    assert done.out == ""


def test_without_an_agent_it_is_exit_code_3(tmp_path: Path) -> None:
    done = edge_agent("rule", "hold", "hot", "--socket", tmp_path / "agent.sock")
    assert done.code == 3
    assert "there is no socket; systemctl start edge-agent" in done.err


def test_name_that_is_no_utf8_is_refused_before_it_is_sent(agent: RunningAgent) -> None:
    assert edge_agent(b"rule", b"hold", b"\xff", "--site", agent.site).code == 2


@AS_NOBODY
def test_user_outside_the_group_decides_nothing(agent: RunningAgent) -> None:
    (agent.folder / "run").chmod(0o755)
    socket = agent.folder / "run" / "agent.sock"
    done = as_nobody("rule", "hold", "hot", "--socket", socket)
    assert done.code == 1
    assert "you may not talk to the agent" in done.err
    socket.chmod(0o666)
    done = as_nobody("rule", "hold", "hot", "--socket", socket)
    socket.chmod(0o660)
    assert done.code == 1
    assert "needs an operator" in done.err


def test_everything_is_on_record_and_replays(agent: RunningAgent) -> None:
    """Last in this file: it stops the agent."""
    assert agent.stop() == 0
    log = agent.folder / "log"
    decided = [json.loads(line) for line in log.with_name("log.decisions").read_bytes().splitlines()]
    outcomes = {(d["rule"], d["outcome"]) for d in decided if d["type"] == "decision"}
    assert {("hot", "held"), ("hot", "released"), ("fast", "reset")} <= outcomes
    assert any(d["type"] == "alert" and d["state"] == "ack" for d in decided)
    done = edge_agent("replay", log, "--site", agent.site, "--verify")
    assert done.code == 0, done.out
