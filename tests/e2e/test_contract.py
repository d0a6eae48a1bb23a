"""Everything that the real agent sends holds to the schema that it names, on a topic that the contract has for it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract import topics
from edge_agent.contract.channels import CHANNELS, shape_of
from edge_agent.contract.published import schema_hashes
from tests.doubles.mosquitto import Mosquitto
from tests.doubles.mqtt_peer import MqttPeer
from tests.doubles.schemas import assert_valid
from tests.e2e.harness import RunningAgent, site_text, wait_until
from tests.inference import onnx_bytes
from tests.inference.packages import plain_package

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 200
max_rate = 50
faults = [{ kind = "overheating", start = "1s" }]
thermal = "1s"

[[model]]
name = "nan"
package = "nan"
input = ["motor.temp"]

[[model]]
name = "same"
package = "same"
input = ["motor.temp"]

[[actuator]]
name = "press"
kind = "log"
path = "{folder}/actions.jsonl"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "200ms"
latch = true
actions = [{ set = "press.relay", value = 0 }]

[[rule]]
id = "by-model"
when = "nan.a > 10.0"
otherwise = "motor.temp > 500"
"""
CARRIES = {(c.direction, c.kind): {shape_of(m) for m in c.carries} for c in CHANNELS}
FROM_A_RUN = {
    "tele/1", "gap/1", "close/1", "infer/1", "decision/1", "alert/1", "state/1", "health/1", "reported/1",
}  # fmt: skip


def checked(topic: str, body: bytes) -> dict[str, Any]:
    """The message, which holds to its schema and came where the contract says."""
    where = topics.parse_topic(topic)
    assert where is not None, topic
    message: dict[str, Any] = assert_valid(body)
    assert message["schema"] in CARRIES[where.direction, where.kind], topic
    return message


@pytest.mark.slow
def test_every_message_of_a_real_run_holds_to_its_schema(tmp_path: Path) -> None:
    pytest.importorskip("jsonschema")
    pytest.importorskip("onnxruntime")
    plain_package(tmp_path / "nan", onnx_bytes.not_a_number())
    plain_package(tmp_path / "same", onnx_bytes.identity())
    unbounded = Mosquitto(tmp_path, "max_queued_messages 0", verbose=False)
    with unbounded as broker, MqttPeer(broker.port, "edge/#") as peer:
        agent = RunningAgent(tmp_path, site_text(broker=broker.port, ack="broker", more=SITE))

        def seen(shape: str) -> list[Any]:
            return [m for m in list(peer.messages) if dict(m[3].UserProperty)["schema"] == shape]

        try:
            agent.start()
            wait_until(lambda: all(map(seen, ("infer/1", "alert/1", "gap/1"))), 60, f"a full run: {agent.tail()}")
            alert = agent.wait_for(lambda s: s["alerts"], 30, "the alert")["alerts"][0]
            agent.ask("ack", alert=alert["alert_id"])
            agent.ask("hold", rule="hot", for_s=1, why="a test")
            agent.kill()
            agent.start()
            wait_until(lambda: seen("close/1"), 60, f"the end of the first epoch: {agent.tail()}")
            agent.stop()
        finally:
            agent.kill()
        wait_until(lambda: b"stopped" in seen("state/1")[-1][1], 20, "the goodbye")
        messages = [(checked(topic, body), retained, told) for topic, body, retained, told in list(peer.messages)]
    kinds = Counter(message["schema"] for message, _, _ in messages)
    assert set(kinds) >= FROM_A_RUN, kinds
    for message, retained, told in messages:
        assert dict(told.UserProperty)["schema"] == message["schema"]
        assert dict(told.UserProperty)["epoch"] == message["epoch"]
        assert retained == (message["schema"] in ("state/1", "health/1", "reported/1"))
    births = [m for m, _, _ in messages if m["schema"] == "state/1" and m["online"]]
    assert [b["start_no"] for b in births] == [births[0]["start_no"], births[0]["start_no"] + 1]
    assert all(birth["schemas"] == schema_hashes() for birth in births)
    _look_at_health([m for m, _, _ in messages if m["schema"] == "health/1"])
    _look_at_reported(next(m for m, _, _ in messages if m["schema"] == "reported/1"))


def _look_at_health(documents: list[dict[str, Any]]) -> None:
    newest = documents[-1]
    assert newest["version"]
    assert newest["store"]["sqlite"].startswith("3.")
    assert newest["disk"]["free_bytes"] > 0
    assert [w["lane"] for w in newest["workers"]] == ["nan", "same"]
    assert abs(newest["t"] - time.time() * 1000) < 120_000


def _look_at_reported(document: dict[str, Any]) -> None:
    assert document["sources"] == {"motor": "simulated"}
    assert document["actuators"] == {"press": "log"}
    assert set(document["rules"]) == {"hot", "by-model"}
    assert set(document["models"]) == {"nan", "same"}
