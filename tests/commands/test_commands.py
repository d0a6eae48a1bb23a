"""Inputs 47 to 60 of the security facts against the real agent, with a real broker between it and who commands."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.commands.signing import OPERATOR, STRANGER, VIEWER, signed, text_of, ulid
from tests.doubles.mosquitto import Mosquitto
from tests.doubles.mqtt_peer import MqttPeer
from tests.e2e.harness import RunningAgent, site_text, wait_until

BASE = "edge/v1/t/s/gw1"
HOLD = f"{BASE}/down/cmd/rule-hold"
SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 20

[[rule]]
id = "hot"
when = "motor.temp > 600"

[[commands.key]]
name = "ops-1"
file = "ops-1.pub"
role = "operator"
allow = ["rule.hold", "rule.release", "rule.reset", "alert.ack"]

[[commands.key]]
name = "desk"
file = "desk.pub"
role = "viewer"
allow = ["alert.ack"]
"""


def _agent(folder: Path, port: int, *, version: str = "5", clock: str = "rtc", site: str = SITE) -> RunningAgent:
    for name, key in (("ops-1", OPERATOR), ("desk", VIEWER)):
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / f"{name}.pub").write_bytes(public)
    text = site_text(broker=port, ack="broker", more=site)
    text = text.replace("event_log_mb = 4", f'event_log_mb = 4\nclock = "{clock}"')
    text = text.replace(f"port = {port}", f'port = {port}\nversion = "{version}"')
    return RunningAgent(folder, text)


@contextmanager
def running(folder: Path, **how):
    with (
        Mosquitto(folder, "max_packet_size 6000000") as broker,
        _agent(folder, broker.port, **how) as agent,
        MqttPeer(broker.port, f"{BASE}/up/#") as peer,
    ):
        agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
        yield agent, peer


def answers(peer: MqttPeer, n: int, last: str = "", timeout_s: float = 15) -> list[dict]:
    """All that was said of command `n`, as soon as a final state is among it."""

    def said(messages):
        found = [json.loads(m[1]) for m in messages if m[0] == f"{BASE}/up/cmd/{ulid(n)}"]
        return found if any(a["state"] in (last or ("done", "failed", "refused")) for a in found) else None

    return peer.wait_for(said, timeout_s)


def refused(peer: MqttPeer, n: int) -> str:
    answer = answers(peer, n)[-1]
    assert answer["state"] == "refused"
    return answer["code"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_signed_command_is_carried_out_and_every_step_is_answered(tmp_path, version):
    with running(tmp_path, version=version) as (agent, peer):
        peer.publish(HOLD, signed(1))
        assert [a["state"] for a in answers(peer, 1)] == ["accepted", "running", "done"]
        assert agent.status()["holds"]["hot"]["by"] == "ops-1 (operator)"
        peer.publish(f"{BASE}/down/cmd/rule-release", signed(2, "rule.release", args={"rule": "hot"}))
        assert answers(peer, 2)[-1]["state"] == "done"
        assert agent.status()["holds"] == {}
        peer.publish(HOLD, signed(3, args={"rule": "cold"}))
        assert refused(peer, 3) == "unknown_rule"
        peer.publish(HOLD, signed(4, args={"rule": ["hot"]}))
        assert refused(peer, 4) == "bad_args"


@pytest.mark.slow
def test_47_a_retained_malicious_command_that_waits_at_connect_is_not_carried_out(tmp_path):
    with Mosquitto(tmp_path) as broker, MqttPeer(broker.port, f"{BASE}/up/#") as peer:
        peer.publish(HOLD, signed(1), retain=True)
        with _agent(tmp_path, broker.port, version="3.1.1") as agent:
            assert refused(peer, 1) == "retained"
            assert agent.status()["holds"] == {}


@pytest.mark.slow
def test_48_a_replay_gets_the_stored_answer_and_after_a_wipe_is_refused(tmp_path):
    with Mosquitto(tmp_path) as broker, MqttPeer(broker.port, f"{BASE}/up/#") as peer:
        command = signed(7)
        agent = _agent(tmp_path, broker.port)

        def again() -> dict:
            peer.messages.clear()
            peer.publish(HOLD, command)
            return answers(peer, 7)[-1]

        try:
            agent.start()
            agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
            assert again()["state"] == "done"
            agent.ask("release", rule="hot")
            agent.wait_for(lambda s: not s["holds"], 10, "the release")
            assert again()["state"] == "done"
            agent.kill()
            agent.start()
            agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
            assert again()["state"] == "done"
            assert agent.status()["holds"] == {}
            agent.stop()
            shutil.rmtree(tmp_path / "data" / "store")
            agent.start()
            agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
            assert (again()["state"], again()["code"]) == ("refused", "replay")
            assert agent.status()["holds"] == {}
        finally:
            agent.kill()


@pytest.mark.slow
def test_49_to_54_what_is_not_in_order_is_refused_by_its_code_and_changes_nothing(tmp_path):
    now = msgspec.json.decode(text_of(1))["issued"] + 1000
    text = text_of(12)
    bad = {
        2: ("expired", signed(2, issued=now - 60_000, expires=now - 1)),
        3: ("not_yet_valid", signed(3, issued=now + 100_000, expires=now + 200_000)),
        4: ("wrong_target", signed(4, gw="gw2")),
        5: ("unauthorised", text_of(5)),
        6: ("unauthorised", signed(6, by=STRANGER)),
        7: ("unauthorised", signed(7, by=VIEWER)),
        8: ("unauthorised", text_of(8)[:-1] + b',"sig":"none:"}'),
        9: ("malformed", _sealed(text_of(9).replace(b'"gw": "gw1"', b'"gw": "gw1", "gw": "gw1"'))),
        10: ("malformed", _sealed(text_of(10).replace(b'"for_s": 600', b'"for_s": 1e999'))),
        11: ("malformed", _sealed(text_of(11).replace(b'"for_s": 600', b'"for_s": 18446744073709551616'))),
        19: ("bad_args", _sealed(text_of(19).replace(b'"for_s": 600', b'"for_s": 1e30'))),
    }
    with running(tmp_path) as (agent, peer):
        for n, (code, body) in bad.items():
            peer.publish(HOLD, body)
            assert refused(peer, n) == code
        for body in (b"", b"[" * 60_000, b"\xff", text.replace(b"cleaning", b"x" * 256 * 1024), b"x" * 5_000_000):
            peer.publish(HOLD, body)
        peer.publish(HOLD, signed(20))
        assert answers(peer, 20)[-1]["state"] == "done", "what came before it did not harm"
        assert agent.status()["holds"]["hot"]["why"] == "cleaning"


def _sealed(text: bytes) -> bytes:
    from edge_agent.commands.envelope import seal

    return seal(text, OPERATOR)


@pytest.mark.slow
def test_55_to_57_what_properties_ask_for_decides_nothing(tmp_path):
    asked = Properties(PacketTypes.PUBLISH)
    asked.ResponseTopic = "edge/v1/t/s/gw2/up/state"
    asked.CorrelationData = b"c" * 200
    asked.UserProperty = [(f"k{i}", "v") for i in range(300)]
    too_long = Properties(PacketTypes.PUBLISH)
    too_long.CorrelationData = b"c" * 5000
    with running(tmp_path) as (_, peer), MqttPeer(peer._client.port, "edge/v1/t/s/gw2/#", client_id="other") as other:
        peer.publish(HOLD, signed(1, reply="$SYS/#"), properties=asked)
        assert answers(peer, 1)[-1]["state"] == "done"
        mine = [m for m in peer.messages if m[0].endswith(ulid(1))]
        assert [getattr(m[3], "CorrelationData", b"") for m in mine] == [b"c" * 200] * 3
        peer.publish(HOLD, signed(2), properties=too_long)
        answers(peer, 2)
        mine = [m for m in peer.messages if m[0].endswith(ulid(2))]
        assert {getattr(m[3], "CorrelationData", b"") for m in mine} == {b""}
        assert other.messages == []


@pytest.mark.slow
def test_59_commands_that_come_too_fast_are_busy_for_a_sample_and_rules_go_on(tmp_path):
    with running(tmp_path) as (agent, peer):
        for n in range(1, 400):
            peer.publish(HOLD, text_of(n), qos=0)
        codes = peer.wait_for(
            lambda ms: (c := {json.loads(m[1]).get("code") for m in ms if "/up/cmd/" in m[0]}) >= {"busy"} and c
        )
        assert codes <= {"busy", "unauthorised"}
        said = [m for m in peer.messages if "/up/cmd/" in m[0]]
        assert len(said) < 200
        assert agent.status()["rules"]["hot"] == "normal"


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"null", b'{"version":1}', b'{"schema":"desired/1","models":{"none":"1"}}'])
def test_60_a_desired_state_is_refused_whole_and_reported_says_why(tmp_path, body):
    with running(tmp_path) as (_, peer):
        peer.publish(f"{BASE}/down/desired", body, retain=True)

        def why(messages):
            told = [json.loads(m[1]) for m in messages if m[0] == f"{BASE}/up/reported"]
            return [t for t in told if t.get("desired_refused")]

        assert "not taken" in peer.wait_for(why)[-1]["desired_refused"]


@pytest.mark.slow
def test_without_a_key_in_the_site_file_nothing_is_accepted(tmp_path):
    with running(tmp_path, site=SITE.partition("[[commands.key]]")[0]) as (agent, peer):
        peer.publish(HOLD, signed(1))
        assert refused(peer, 1) == "unauthorised"
        assert agent.status()["holds"] == {}


@pytest.mark.slow
def test_49_a_gateway_that_does_not_know_the_time_takes_no_command(tmp_path):
    with running(tmp_path, clock="ntp") as (agent, peer):
        if agent.status()["clock"] != "guessed":
            pytest.skip("the kernel of this machine says that its clock is synchronized")
        peer.publish(HOLD, signed(1))
        assert refused(peer, 1) == "clock_unsynced"


@pytest.mark.slow
def test_a_peer_on_anothers_topics_is_refused_counted_and_told_nothing_of_the_site(tmp_path):
    with running(tmp_path) as (_, peer):
        peer.publish(HOLD, signed(1, by=STRANGER))
        (answer,) = answers(peer, 1)
        del answer["t"]
        assert answer == {"schema": "cmd_result/1", "id": ulid(1), "state": "refused", "code": "unauthorised"}

        def counted(messages):
            told = [json.loads(m[1]) for m in messages if m[0] == f"{BASE}/up/health"]
            parts = {p["name"]: p for t in told[-1:] for p in t["parts"]}
            return parts.get("commands", {}).get("counts", {}).get("refused_unauthorised")

        assert peer.wait_for(counted, 40) == 1


@pytest.mark.slow
def test_a_command_that_a_kill_interrupted_is_failed_and_not_carried_out_again(tmp_path):
    with Mosquitto(tmp_path) as broker, MqttPeer(broker.port, f"{BASE}/up/#") as peer:
        agent = _agent(tmp_path, broker.port)
        try:
            agent.start()
            agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
            peer.publish(HOLD, signed(1))
            answers(peer, 1)
            agent.kill()
            log = tmp_path / "data" / "store" / "commands.log"
            *before, last = log.read_bytes().splitlines(keepends=True)
            assert b'"done"' in last
            log.write_bytes(b"".join(before))
            peer.messages.clear()
            agent.start()
            assert answers(peer, 1, timeout_s=30)[-1]["code"] == "interrupted"
            peer.publish(HOLD, signed(1))
            wait_until(lambda: len(answers(peer, 1)) == 2, 10, "the stored answer")
            assert answers(peer, 1)[-1]["code"] == "interrupted"
        finally:
            agent.kill()


@pytest.mark.slow
def test_a_hold_that_rules_json_cannot_take_is_not_answered_done(tmp_path):
    with running(tmp_path) as (agent, peer):
        blocked = tmp_path / "data" / "rules.part"
        blocked.mkdir()
        peer.publish(HOLD, signed(1))
        end = answers(peer, 1)[-1]
        assert (end["state"], end["code"]) == ("failed", "not_kept")
        assert "it was carried out" in end["why"]
        peer.publish(HOLD, signed(2))
        assert [(a["state"], a["code"]) for a in answers(peer, 2)] == [("failed", "not_kept")]
        blocked.rmdir()
        agent.wait_for(lambda s: not any("rules.json" in t for t in s["trouble"]), 20, "rules.json is written")
        peer.publish(HOLD, signed(3))
        assert answers(peer, 3)[-1]["state"] == "done"
        assert b"ops-1" in (tmp_path / "data" / "rules.json").read_bytes()
