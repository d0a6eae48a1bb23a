"""Gateway, broker, ingest and database, all real: what was committed on the box is in PostgreSQL or declared."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.contract import decode
from tests.cli.command import edge_agent
from tests.doubles.mosquitto import Mosquitto
from tests.doubles.postgres import Postgres
from tests.e2e.harness import RunningAgent, site_text, wait_until
from tests.fleet.process import RunningIngest

BROKER = ("max_queued_messages 0", "max_inflight_messages 200")


def sources(n: int, each: int | None, hz: int) -> str:
    count = f"count = {each}\n" if each else ""
    one = '[[source]]\nname = "motor{i}"\nkind = "simulated"\nrate_hz = {hz}\nseed = {i}\n' + count
    return "\n".join(one.format(i=i, hz=hz) for i in range(n))


class Held:
    """What the database holds."""

    def __init__(self, cluster: Postgres, database: str) -> None:
        self.cluster, self.database = cluster, database

    def one(self, query: str) -> Any:
        ((value,),) = self.cluster.sql(query, self.database)
        return value

    def readings(self) -> int:
        return int(self.one("select count(*) from edge.reading"))

    def declared(self) -> int:
        query = "select coalesce(sum(declared), 0) from edge.completeness where stream like 'motor%'"
        return int(self.one(query))

    def missing(self) -> int:
        return int(self.one("select coalesce(sum(missing), 0) from edge.completeness"))

    def conflicts(self) -> int:
        return int(self.one("select count(*) from edge.conflict"))


def faults(folder: Path, cluster: Postgres, database: str, *, each: int, hz: int, kills: int, seed: int) -> None:
    """Three sources of `each` readings; the broker dies `kills` times meanwhile, the ingest once."""
    rng = random.Random(seed)
    wanted = 3 * each
    held = Held(cluster, database)
    broker = Mosquitto(folder, *BROKER, verbose=False)
    agent = RunningAgent(folder, site_text(broker=broker.port, more=sources(3, each, hz)), "--end-with-input")
    flow_s = each / hz
    times = sorted((rng.uniform(0.05, 0.95) * flow_s, "broker") for _ in range(kills))
    times = sorted([*times, (rng.uniform(0.3, 0.7) * flow_s, "ingest")])
    with broker, RunningIngest(folder, broker.port, cluster.url(database)) as ingest, agent:
        ingest.wait_for("shared in group")
        agent.wait_for(lambda s: s["uplink"]["connected"], 30, "connected")
        began = time.monotonic()
        for at_s, what in times:
            time.sleep(max(0.0, began + at_s - time.monotonic()))  # the random moment is what this is about
            if what == "broker":
                broker.kill()
                broker.start()
            else:
                ingest.kill()
                ingest.start()
        assert agent.wait(240) == 0, agent.tail()
        wait_until(lambda: held.readings() + held.declared() >= wanted, 60, "all is there")
        assert (held.readings() + held.declared(), held.missing(), held.conflicts()) == (wanted, 0, 0)
        ranges = "select count(distinct (series, seq)) from edge.reading"
        assert held.one(ranges) == held.readings(), "a reading twice"
        print(f"{held.readings():,} in PostgreSQL, {held.declared():,} declared; {ingest.text().splitlines()[-1]}")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_readings_are_there_once_over_the_deaths_of_broker_and_ingest(
    tmp_path: Path, cluster: Postgres, database: str
) -> None:
    faults(tmp_path, cluster, database, each=5_000, hz=500, kills=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 4))
def test_150_000_readings_are_there_once_over_ten_deaths_of_the_broker_and_one_of_the_ingest(
    tmp_path: Path, cluster: Postgres, database: str, seed: int
) -> None:
    faults(tmp_path, cluster, database, each=50_000, hz=1000, kills=10, seed=seed)


def _delete_behind_its_back(folder: Path) -> list[tuple[str, int, int]]:
    """Removes an inner row of telemetry and the last one; the (stream, first, last) that were in them."""
    (path,) = (folder / "data").rglob("*.db")
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("select id, body from row2 order by id").fetchall()
        gone = [rows[2], rows[-1]]
        db.executemany("delete from row2 where id = ?", [(row_id,) for row_id, _ in gone])
        db.commit()
    segments = [s for _, body in gone for s in msgspec.to_builtins(decode.decode_row(body))["seg"]]
    return sorted((s["stream"], s["seq0"], s["seq0"] + s["n"] - 1) for s in segments)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_rows_deleted_from_the_outbox_behind_the_agents_back_are_found_the_last_of_an_epoch_included(
    tmp_path: Path, cluster: Postgres, database: str, end: str
) -> None:
    held = Held(cluster, database)
    broker = Mosquitto(tmp_path, *BROKER)
    agent = RunningAgent(tmp_path, site_text(broker=broker.port, more=sources(2, None, 100)))
    agent.start()
    agent.wait_for(lambda s: s["store"]["commits"] >= 5, 30, "some rows")
    if end == "stopped":
        assert agent.stop() == 0
    else:
        agent.kill()
    lost = _delete_behind_its_back(tmp_path)
    with broker, RunningIngest(tmp_path, broker.port, cluster.url(database)) as ingest, agent:
        ingest.wait_for("shared in group")
        wait_until(lambda: cluster.sql("select 1 from edge.closing limit 1", database), 30, "close/1")
        query = (
            "select stream, lower(r), upper(r) - 1 from edge.completeness, unnest(holes) r where closed"
            " order by stream, 2"
        )  # fmt: skip
        wait_until(lambda: cluster.sql(query, database) == lost, 30, f"{lost}")
        done = edge_agent("fleet", "holes", "--database", cluster.url(database))
        assert done.code == 1
        assert "MISSING" in done.out
    assert held.conflicts() == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("resend_after", "expiry_s"),
    [
        pytest.param("15s", 1, marks=pytest.mark.slow, id="quick"),
        pytest.param("30s", 10, marks=pytest.mark.long, id="defaults"),
    ],
)
def test_process_that_hangs_strands_nothing_for_longer_than_a_minute(
    tmp_path: Path, cluster: Postgres, database: str, resend_after: str, expiry_s: int
) -> None:
    """The broker gives the hung one up before anything is sent again."""
    held = Held(cluster, database)
    broker = Mosquitto(tmp_path, *BROKER, verbose=False)
    site = site_text(broker=broker.port, more=sources(2, None, 100)).replace('"2s"', f'"{resend_after}"')
    first, second = (
        RunningIngest(tmp_path, broker.port, cluster.url(database), name, "--session-expiry", str(expiry_s))
        for name in ("ingest-1", "ingest-2")
    )
    with broker, first, second, RunningAgent(tmp_path, site) as agent:
        first.wait_for("shared in group")
        second.wait_for("shared in group")
        wait_until(lambda: held.readings() > 500, 30, "both at work")
        first.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        oldest_s = [0.0]

        def settled() -> bool:
            """What it held is covered, and nothing new goes to it."""
            uplink = (agent.ask("status") or {}).get("uplink", {})
            age_s = uplink.get("oldest_uncovered_s") or 0.0
            oldest_s.append(max(oldest_s[-1], age_s))
            return uplink.get("resent", 0) > 0 and age_s < 5

        try:
            wait_until(settled, 120, "nothing stranded")
        finally:
            first.signal(signal.SIGCONT)
        print(f"oldest uncovered {oldest_s[-1]:.1f} s, settled {time.monotonic() - stopped:.1f} s after the stop")
        assert 5 < oldest_s[-1] < 60
        second.alive()
        first.wait_for("shared in group", 2)  # it comes back by itself
        assert held.conflicts() == 0
