"""The reference ingest: messages into PostgreSQL, beside a bare loop of inserts of the same readings, and COPY.

The server syncs every commit; all loops commit 1,000 readings at a time. The bare loops have their columns ready and
look for nothing; the ingest starts from bodies as they come over the wire, inflates, checks, compares and proves.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benches.agents import MOSQUITTO, Mosquitto, cpu_s, wait_until
from benches.figures import Figure
from edge_agent.contract import topics
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.types import Reading, Record, Stamp
from tests.doubles.postgres import MISSING, Postgres, programs

STREAMS = 50
BATCH = 1000
GATEWAY = topics.Gateway("t", "s", "gw1")
_TABLE = """create table bare
(series bigint, seq bigint, t timestamptz, m bigint, fields jsonb, primary key (series, seq))"""
_UNNEST = """insert into bare select series, seq, to_timestamp(t / 1000.0), m, fields
from unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::jsonb[]) as u (series, seq, t, m, fields)
on conflict do nothing"""


def measure(*, quick: bool = False) -> list[Figure]:
    if programs() is None:
        return [Figure("ingest", None, "readings/s", f"skipped: {MISSING}", budget=0.5, least=True, of_ratio=True)]
    readings = 20_000 if quick else 200_000
    postgres = Postgres(fsync=True)
    try:
        postgres.start()
        unnest, copy = bare(postgres, readings)
        figures = []
        for hz in (1, 10):
            first, again = committed(postgres, readings, hz)
            name = f"{hz} of a stream in a message"
            figures.append(Figure(f"committed, {name}", first, "1/s", unnest, 0.5, least=True, of_ratio=True))
            figures.append(Figure(f"the same again, {name}", again, "1/s", unnest, 0.5, least=True, of_ratio=True))
        figures.append(Figure("COPY, which fails on a repetition", copy, "1/s", unnest))
        if MOSQUITTO is not None:
            rate, cpu_us = through_broker(postgres, readings, 10)
            figures.append(Figure("from the broker to the commit, one process", rate, "1/s", unnest))
            figures.append(Figure("its CPU per reading", cpu_us, "us"))
        return figures
    finally:
        postgres.close()


def bodies(readings: int, hz: int) -> list[bytes]:
    """Messages of all streams, `hz` readings of each."""
    rng = random.Random(2)
    builder = TeleBuilder("gw1", "01KDVDNA00Q3N5M7K9P2R4T6W8", describe=lambda _: StreamSpec(), limit_bytes=96 * 1024)
    out = []
    for second in range(readings // (STREAMS * hz)):
        for k in range(hz):
            seq = second * hz + k
            ns = 5_000_000_000_000 + seq * 1_000_000_000 // hz
            stamp = Stamp(ns, 1_767_225_600_000_000_000 + ns, boot="b")
            for i in range(STREAMS):
                builder.append(Record(seq, Reading(f"s{i:02d}", stamp, {"temp": round(20 + rng.gauss(0, 2), 2)})))
        out += [draft.body for draft in builder.close()[0]]
    return out


def committed(postgres: Postgres, readings: int, hz: int) -> tuple[float, float]:
    """Readings a second through decoding and commit, new ones and such as are there."""
    from edge_agent.fleet.commit import Writer
    from edge_agent.fleet.database import DatabaseSettings, connected
    from edge_agent.fleet.intake import read_message
    from edge_agent.fleet.schema import migrate

    messages, topic = bodies(readings, hz), GATEWAY.up(topics.TELE, "all")
    per_batch = BATCH // (STREAMS * hz)
    with connected(DatabaseSettings(postgres.url(postgres.database()))) as connection:
        migrate(connection)
        writer = Writer()

        def once() -> None:
            for at in range(0, len(messages), per_batch):
                writer.commit(connection, [read_message(topic, body) for body in messages[at : at + per_batch]])

        return _rate(once, readings), _rate(once, readings)


def bare(postgres: Postgres, readings: int) -> tuple[float, float]:
    """Readings a second of a loop of inserts by unnest, and of COPY."""
    import psycopg

    rng = random.Random(2)
    fields = [f'{{"temp":{round(20 + rng.gauss(0, 2), 2)}}}' for _ in range(readings)]
    rows = [(i % STREAMS, i // STREAMS, 1_767_225_600_000 + i, i, fields[i]) for i in range(readings)]
    batches = [rows[at : at + BATCH] for at in range(0, readings, BATCH)]
    columns = [[list(column) for column in zip(*batch, strict=True)] for batch in batches]
    with psycopg.connect(postgres.url(postgres.database()), autocommit=True) as connection:
        connection.execute(_TABLE)

        def by_unnest() -> None:
            for batch in columns:
                connection.execute(_UNNEST, batch)

        def by_copy() -> None:
            for batch in batches:
                _copy(connection, batch)

        unnest = _rate(by_unnest, readings)
        connection.execute("truncate bare")
        return unnest, _rate(by_copy, readings)


def _copy(connection: Any, batch: Sequence[tuple[int, int, int, int, str]]) -> None:
    with connection.cursor().copy("copy bare (series, seq, m, fields) from stdin") as copy:
        for series, seq, _, m, fields in batch:
            copy.write_row((series, seq, m, fields))


def _rate(work: Callable[[], None], readings: int) -> float:
    began = time.perf_counter()
    work()
    return readings / (time.perf_counter() - began)


def through_broker(postgres: Postgres, readings: int, hz: int) -> tuple[float, float]:
    """Readings a second from the first publication to the last commit, and us of the ingest's CPU per reading."""
    from tests.fleet.process import RunningIngest

    database = postgres.database()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder, "max_queued_messages 0", "max_inflight_messages 200", verbose=False)
        with broker, RunningIngest(folder, broker.port, postgres.url(database)) as ingest:
            ingest.wait_for("shared in group")
            before_s = cpu_s(ingest.pid)
            messages = bodies(readings, hz)
            began = time.perf_counter()
            with _publisher(broker.port, messages):
                count = "select count(*) from edge.reading"
                wait_until(lambda: postgres.sql(count, database) == [(readings,)], 300, "all committed")
                took_s = time.perf_counter() - began
            return readings / took_s, (cpu_s(ingest.pid) - before_s) / readings * 1e6


@contextmanager
def _publisher(port: int, messages: list[bytes]) -> Any:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages = 0
    client.connect("127.0.0.1", port)
    client.loop_start()
    topic = GATEWAY.up(topics.TELE, "all")
    thread = threading.Thread(target=lambda: [client.publish(topic, body, qos=1) for body in messages])
    thread.start()
    try:
        yield
    finally:
        thread.join()
        client.disconnect()
        client.loop_stop()
