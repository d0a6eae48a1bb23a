"""The real agent on networks that do not work: sensing and rules go on, every row waits on the disk, and `status`
says what is wrong and what to do next."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge_agent.contract.documents import Health
from tests.doubles.mosquitto import Authority, Mosquitto, free_port, password_file
from tests.doubles.mqtt_peer import MqttPeer
from tests.doubles.scripted_broker import ScriptedBroker
from tests.doubles.tcp_proxy import TcpProxy
from tests.doubles.tls_portal import REDIRECT, TlsPortal
from tests.e2e.harness import RunningAgent, site_text, wait_until

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 50
faults = [{ kind = "overheating", start = "1s" }]
thermal = "1s"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "200ms"
"""


@contextmanager
def wrong_password(folder: Path):
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("wrong\n")
    users = password_file(folder, gw1="right")
    with Mosquitto(folder, f"password_file {users}", anonymous=False) as broker:
        yield broker.port, f'username = "gw1"\npassword_file = "{secret}"'


@contextmanager
def plain_portal(folder: Path):
    with ScriptedBroker(greeting=REDIRECT) as portal:
        yield portal.port, "[uplink.tls]"
        assert b"tele" not in bytes(portal.received)


@contextmanager
def tls_portal(folder: Path):
    authority = Authority(folder, "stranger")
    with TlsPortal(*authority.issue("portal", address="IP:127.0.0.1")) as portal:
        yield portal.port, f'[uplink.tls]\nca = "{Authority(folder, "ours").ca}"'
        assert bytes(portal.payload) == b""


@contextmanager
def slow_broker(folder: Path):
    def dawdle(topic: str, _: bytes) -> int | None:
        return None if "/tele/" in topic else 0

    with ScriptedBroker(puback=dawdle) as broker:
        yield broker.port, "window = 2"


@contextmanager
def flapping_broker(folder: Path):
    with Mosquitto(folder, verbose=False) as broker, TcpProxy(broker.port) as proxy:
        proxy.cut_after_s = 0.1
        yield proxy.port, ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "named", "next_step"),
    [
        (wrong_password, "uplink: the broker at 127.0.0.1", "password_file"),
        (plain_portal, "does not speak TLS", "captive portal"),
        (tls_portal, "its issuer is not known here", "a network that intercepts TLS looks the same"),
        (slow_broker, "the broker is slow", "is the broker busy"),
        (flapping_broker, "times in 10 min", "see the broker's log"),
    ],
)
def test_sensing_goes_on_and_the_fault_is_named(tmp_path, fault, named, next_step):
    with fault(tmp_path) as (port, more):
        site = site_text(broker=port, ack="broker", more=SITE).replace(f"port = {port}", f"port = {port}\n{more}")
        with RunningAgent(tmp_path, site) as agent:
            told = agent.wait_for(lambda s: any(named in t for t in s["trouble"]), 60, f"{named} in status")
            (trouble,) = (t for t in told["trouble"] if named in t)
            assert next_step in trouble
            before = told["store"]["readings"]
            began = time.monotonic()
            later = agent.wait_for(lambda s: s["store"]["readings"] >= before + 100, 30, "readings are kept")
            assert time.monotonic() - began < 20, "at 50 a second"
            assert later["rules"]["hot"] == "raised"
            assert later["store"]["backlog"]["rows"] >= 2
            assert later["engine"]["latency"]["p50_ms"] < 50
            assert later["uplink"]["in_flight"] <= 50
            assert agent.stop() == 0


@pytest.mark.slow
def test_a_network_that_comes_back_gets_everything(tmp_path):
    """From nobody to a broker: what was sensed meanwhile arrives."""
    port = free_port()
    site = site_text(broker=port, ack="broker", more=SITE).replace(
        f"port = {port}", f'port = {port}\nreconnect_max = "2s"'
    )
    with RunningAgent(tmp_path, site) as agent:
        agent.wait_for(lambda s: s["store"]["readings"] > 100, 30, "readings without a network")
        with Mosquitto(tmp_path, port=port, verbose=False):
            agent.wait_for(lambda s: s["uplink"]["connected"] and not s["trouble"], 30, "the connection")
            waiting = agent.status()["uplink"]["delivered"]
            wait_until(lambda: agent.status()["uplink"]["delivered"] > waiting, 30, "rows go out")
            last = agent.wait_for(lambda s: s["store"]["backlog"]["rows"] <= 2, 30, "the backlog is gone")
            assert last["uplink"]["refused"] == 0


@pytest.mark.slow
def test_a_link_that_costs_carries_alerts_while_telemetry_is_on_hold(tmp_path):
    budget = 'keepalive_s = 3600\n[uplink.budget]\nper_day = "200kB"\nreserve = "100kB"'
    topics = [f"edge/v1/t/s/gw1/up/{kind}" for kind in ("alert", "health")]
    with Mosquitto(tmp_path, verbose=False) as broker, MqttPeer(broker.port, *topics) as peer:
        site = site_text(broker=broker.port, ack="broker", more=SITE)
        site = site.replace(f"port = {broker.port}", f"port = {broker.port}\n{budget}")
        with RunningAgent(tmp_path, site) as agent:

            def on_hold(status: dict) -> bool:
                return {"live", "backlog"} <= status["uplink"].get("budget", {}).get("waits_s", {}).keys()

            told = agent.wait_for(on_hold, 40, "live telemetry on hold")
            assert "urgent" not in told["uplink"]["budget"]["waits_s"]
            assert told["trouble"] == []
            peer.wait_for(lambda m: any(x[0] == topics[0] for x in m), 20)
            health = peer.wait_for(lambda m: [x[1] for x in m if x[0] == topics[1]], 20)
            budget = msgspec.json.decode(health[0], type=Health).budget
            assert budget is not None
            assert (budget.metered, budget.per_day_bytes) == (True, 200_000)
            later = agent.wait_for(lambda s: s["store"]["backlog"]["rows"] >= 5, 30, "telemetry waits on the disk")
            used = later["uplink"]["budget"]["used_bytes"]
            assert 0 < used < 100_000
            agent.kill()
            agent.start()
            again = agent.wait_for(lambda s: s["uplink"]["connected"], 30, "the connection")
            assert again["uplink"]["budget"]["used_bytes"] >= used, "the day goes on"


UNKNOWN_ALIAS = b"\x30\x06\x00\x00\x03\x23\x27\x0f"
"""It stands for nothing, and is above what the agent allows."""
HALF_AN_ALIAS = b"\x30\x05\x00\x00\x02\x23\x00"
NOT_UTF_8 = b"\x30\x07\x00\x02\xff\xfe\x00xx"


@pytest.mark.slow
def test_row_58_misused_aliases_and_topics_that_are_not_utf_8_stop_neither_rules_nor_rows(tmp_path):
    with ScriptedBroker() as broker:
        site = site_text(broker=broker.port, ack="broker", more=SITE).replace(
            f"port = {broker.port}", f'port = {broker.port}\nreconnect_max = "2s"'
        )
        with RunningAgent(tmp_path, site) as agent:
            agent.wait_for(lambda s: s["uplink"]["connected"], 20, "connected")
            broker.say(NOT_UTF_8)
            broker.say(UNKNOWN_ALIAS)
            agent.wait_for(lambda s: s["uplink"]["counts"].get("down_bad_topic") == 2, 20, "both are dropped")
            assert broker.connects == 1
            began = time.monotonic()
            for connects in (1, 2, 3):
                agent.wait_for(lambda s: s["uplink"]["connected"], 30, "connected again")
                broker.say(HALF_AN_ALIAS)
                wait_until(lambda n=connects: broker.connects > n, 30, "it comes again")
            assert broker.connects <= 2 + (time.monotonic() - began), "at most one connection a second"
            agent.wait_for(lambda s: s["uplink"]["connected"], 30, "connected again")
            told = agent.wait_for(lambda s: s["rules"]["hot"] == "raised", 30, "rules go on")
            rows = len(broker.published)
            wait_until(lambda: len(broker.published) > rows, 20, "rows go out")
            assert told["store"]["readings"] > 0
            assert agent.stop() == 0
