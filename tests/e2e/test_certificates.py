"""Row 24 on the real agent: a certificate for one day is an alert and in status, and a renewed one ends both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import edge_agent
from tests.doubles.faked_wall import FakedWall
from tests.doubles.mosquitto import Authority, Mosquitto
from tests.e2e.harness import RunningAgent, site_text

SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 20
"""
DAY_S = 86_400.0


def told(status: dict[str, Any], *words: str) -> bool:
    return any(all(word in alert["text"] for word in words) for alert in status["alerts"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_row_24_a_certificate_runs_out_under_the_agent_and_a_new_file_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = FakedWall(tmp_path, 0.0)
    authority = Authority(tmp_path, days=90)
    server, server_key = authority.issue("localhost", address="DNS:localhost,IP:127.0.0.1", days=90)
    cert, key = authority.issue("gw1", days=1)
    lines = (f"cafile {authority.ca}", f"certfile {server}", f"keyfile {server_key}", "require_certificate true")
    with Mosquitto(tmp_path, *lines, verbose=False) as broker:
        site = site_text(broker=broker.port, ack="broker", more=SITE)
        site = site.replace('gateway = "gw1"', 'gateway = "gw1"\nclock = "rtc"').replace("127.0.0.1", "localhost")
        tls = f'tls = {{ ca = "{authority.ca}", cert = "{cert}", key = "{key}" }}\n'
        agent = RunningAgent(tmp_path, site.replace("[delivery]", tls + "[delivery]"))

        def start() -> None:
            with monkeypatch.context() as faked:
                for name, value in wall.environment.items():
                    faked.setenv(name, value)
                agent.start()

        try:
            start()
            soon = agent.wait_for(lambda s: told(s, "uplink.tls.cert", "expires in 24 hours"), 30, "the warning")
            assert [a["severity"] for a in soon["alerts"]] == ["critical"]
            assert soon["ok"], "it is no trouble yet"
            assert "uplink.tls.cert VALID, for 24 h more" in words(agent)
            assert agent.stop() == 0
            (tmp_path / "data" / "clock.json").unlink()  # as of another boot: of this one it knows better
            wall.set(2 * DAY_S)
            start()
            over = agent.wait_for(lambda s: told(s, "uplink.tls.cert", "has expired 24 hours ago"), 30, "its end")
            assert any("uplink.tls.cert: " in reason and "renew it" in reason for reason in over["trouble"])
            assert "uplink.tls.cert EXPIRED, 24 h ago" in words(agent)
            authority.issue("gw1", days=80)
            new = agent.wait_for(lambda s: s["ok"] and not s["alerts"], 90, "the new file is seen")
            assert new["store"]["readings"] > over["store"]["readings"]
            assert new["start_no"] == over["start_no"]
        finally:
            agent.kill()


def words(agent: RunningAgent) -> str:
    return " ".join(edge_agent("status", agent.site, COLUMNS="200").out.split())
