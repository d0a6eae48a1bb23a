"""The two consumers of BACKEND.md, beside a real agent in backend mode: they keep everything once, acknowledge it,
and what they hold proves that nothing is missing."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.mosquitto import Mosquitto
from tests.doubles.mqtt_peer import MqttPeer
from tests.doubles.node import beside_packages
from tests.e2e.harness import ROOT, RunningAgent, site_text, wait_until

FOLDER = ROOT / "edge_agent" / "contract" / "consumers"
PAGE = ROOT / "edge_agent" / "contract" / "BACKEND.md"
SITE = """
[[source]]
name = "motor"
kind = "simulated"
rate_hz = 100
max_rate = 80
faults = [{ kind = "overheating", start = "1s" }]
thermal = "1s"

[[rule]]
id = "hot"
when = "motor.temp > 60"
for = "200ms"
latch = true
"""
Entry = tuple[str, str, str, int, int | None, str]


class Consumer:
    """One of the two, as a process of its own, and what it has kept."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        script = FOLDER / name
        run = [sys.executable, str(script)] if script.suffix == ".py" else beside_packages(script, folder)
        self.file = folder / "kept"
        self._argv = [*run, "127.0.0.1", str(port), str(self.file)]
        self._log = folder / "consumer.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(self._argv, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def alive(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, self._log.read_text("utf-8")
        return True

    def entries(self) -> list[Entry]:
        if not self.file.exists():
            return []
        if self._argv[-4].endswith(".py"):
            with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as db:
                if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    return []
                return db.execute("SELECT * FROM entry").fetchall()
        lines = self.file.read_text("utf-8").splitlines()
        return [(*row[:5], json.dumps(row[5])) for row in map(json.loads, lines)]


@pytest.fixture(params=["consumer.py", "consumer.mjs"])
def consumer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Consumer, Mosquitto]]:
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        started = Consumer(request.param, tmp_path, broker.port)
        try:
            yield started, broker
        finally:
            started.kill()


def incomplete(entries: list[Entry]) -> dict[tuple[str, str], int]:
    """What the page's own query says is missing: by (epoch, stream)."""
    query = re.search(r"```sql\n(WITH.*?)```", PAGE.read_text("utf-8"), re.S)
    assert query is not None
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE entry (gw, epoch, stream, seq, t, body, PRIMARY KEY (gw, epoch, stream, seq))")
    db.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?)", entries)
    return {(epoch, stream): missing for _, epoch, stream, missing in db.execute(query[1])}


def settled(status: dict[str, Any]) -> bool:
    """Everything that was committed has been acknowledged."""
    return bool(status["store"]["commits"]) and not status["store"]["backlog"]["rows"]


@pytest.mark.slow
def test_what_it_keeps_is_everything_once_and_proved(consumer: tuple[Consumer, Mosquitto], tmp_path: Path) -> None:
    backend, broker = consumer
    backend.start()
    with MqttPeer(broker.port, "edge/#") as peer:
        wait_until(lambda: "SUBSCRIBE from consumer" in broker.log().replace("Received ", ""), 20, "its subscription")
        agent = RunningAgent(tmp_path, site_text(broker=broker.port, more=SITE))
        try:
            agent.start()
            wait_until(lambda: backend.alive() and len(backend.entries()) > 50, 40, f"readings: {agent.tail()}")
            backend.kill()
            rows = agent.status()["store"]["rows"]
            agent.wait_for(lambda s: s["store"]["rows"] > rows + 2, 20, "rows that nobody keeps")
            assert not settled(agent.status()), "nobody acknowledged them, and the gateway still has them"
            backend.start()
            first = agent.wait_for(settled, 40, "acknowledgements of all of it")["epoch"]
            agent.kill()  # the end of the first epoch is told by the next start
            agent.start()
            wait_until(lambda: any('"close/1"' in e[5] for e in backend.entries()), 40, "the end of the first epoch")
            agent.wait_for(settled, 40, "acknowledgements of the second epoch")
        finally:
            agent.kill()
        kept = backend.entries()
        assert {e[2] for e in kept} >= {"motor", "decision", "alert", "ledger"}
        assert len({e[:4] for e in kept}) == len(kept)
        assert incomplete(kept) == {}

        topic, body = next((t, b) for t, b, *_ in peer.messages if "/up/tele/" in t)
        acks = sum("/down/ack" in t for t, *_ in peer.messages)
        peer.publish(topic, body)
        peer.wait_for(lambda m: sum("/down/ack" in x[0] for x in m) > acks)
        assert sorted(backend.entries()) == sorted(kept), "what comes again is acknowledged again and kept once"
    _one_that_is_missing_is_found(kept, first)


def _one_that_is_missing_is_found(kept: list[Entry], epoch: str) -> None:
    """In the middle of a stream, and at the end of a closed epoch, where only `close/1` tells."""
    motor = sorted(e for e in kept if e[1:3] == (epoch, "motor"))
    lost = incomplete([e for e in kept if e not in (motor[10], motor[11])])
    assert lost == {(epoch, "motor"): 2}
    assert incomplete([e for e in kept if e != motor[-1]]) == {(epoch, "motor"): 1}
    assert incomplete([e for e in kept if e[1:3] != (epoch, "alert")]) == {
        (epoch, "alert"): sum(e[1:3] == (epoch, "alert") for e in kept)
    }
