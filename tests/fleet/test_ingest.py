"""The ingest as a process: it takes, commits and acknowledges; what is wrong with its surroundings has a name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.contract import messages
from edge_agent.fleet.intake import Delivery
from tests.cli.command import edge_agent
from tests.doubles.mosquitto import Mosquitto, free_port
from tests.doubles.postgres import PASSWORD, Postgres
from tests.e2e.harness import wait_until
from tests.fleet.process import RunningIngest
from tests.fleet.rows import EPOCH, GATEWAY, tele

pytestmark = pytest.mark.timeout(120)


class Peer:
    """A gateway, as far as the broker can tell: publishes rows and hears acknowledgements."""

    def __init__(self, port: int) -> None:
        self.acks: list[messages.Ack] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(GATEWAY.all_down(), qos=1)
        assert self._subscribed.wait(10)

    def send(self, *rows: Delivery) -> None:
        for row in rows:
            self.client.publish(row.topic, row.body, qos=1).wait_for_publish(10)

    def held(self, stream: str = "press") -> set[int]:
        return {n for ack in tuple(self.acks) for a, b in ack.have.get(stream, ()) for n in range(a, b + 1)}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self.acks.append(msgspec.json.decode(message.payload, type=messages.Ack))


@contextmanager
def peer(broker: Mosquitto) -> Iterator[Peer]:
    them = Peer(broker.port)
    try:
        yield them
    finally:
        them.close()


def test_row_is_acknowledged_after_its_commit_and_again_when_it_comes_again(
    tmp_path: Path, cluster: Postgres, database: str
) -> None:
    with Mosquitto(tmp_path) as broker, RunningIngest(tmp_path, broker.port, cluster.url(database)) as ingest:
        ingest.wait_for("shared in group")
        assert ingest.said("shared in group ingest")
        with peer(broker) as gateway:
            gateway.send(tele(0, 100), tele(100, 50))
            wait_until(lambda: gateway.held() == set(range(150)), 20, "acknowledged")
            assert cluster.sql("select count(*) from edge.reading", database) == [(150,)]
            assert {ack.epoch for ack in gateway.acks} == {EPOCH}
            gateway.acks.clear()
            gateway.send(tele(0, 100))
            wait_until(lambda: gateway.held() == set(range(100)), 20, "acknowledged again")
            gateway.send(tele(100, 50, offset=1.0))
            wait_until(lambda: [r for ack in gateway.acks for r in ack.reject], 20, "conflict told")
            assert gateway.acks[-1].reject == [messages.Reject(stream="press", seq=100, code="conflict")]
        done = edge_agent("fleet", "holes", "--database", cluster.url(database), "--json")
        assert (done.code, done.document["ok"], done.document["streams"][0]["received"]) == (0, True, 150)
        assert ingest.stop() == 0


@pytest.mark.slow
def test_it_outlives_the_end_of_broker_and_database(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="the extra fleet is not installed here")
    postgres = Postgres(fsync=True)
    try:
        postgres.start()
        database = postgres.database()
        broker = Mosquitto(tmp_path)
        url = postgres.url(database)
        with broker, RunningIngest(tmp_path, broker.port, url, "ingest-1", "--session-expiry", "300") as ingest:
            ingest.wait_for("shared in group")
            postgres.crash()
            with peer(broker) as gateway:
                gateway.send(tele(0, 10))  # cannot be committed, so the broker keeps it
            ingest.wait_for("is the server running? see its log")
            postgres.start()
            count = "select count(*) from edge.reading"
            ingest.wait_for("shared in group", 2)
            wait_until(lambda: postgres.sql(count, database) == [(10,)], 20, "what waited at the broker")
            broker.kill()
            ingest.wait_for("is the broker running")
            broker.start()
            ingest.wait_for("shared in group", 3)
            with peer(broker) as gateway:
                gateway.send(tele(10, 10))
                wait_until(lambda: gateway.held() == set(range(10, 20)), 20, "acknowledged")
            assert postgres.sql(count, database) == [(20,)]
    finally:
        postgres.close()


@pytest.mark.slow
def test_broker_that_grants_a_share_and_delivers_nothing_on_it_is_found_out(
    tmp_path: Path, cluster: Postgres, database: str
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite edge/v1/t/#\ntopic write edge/v1/selftest/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {acl}")
    with broker, RunningIngest(tmp_path, broker.port, cluster.url(database)) as ingest:
        ingest.wait_for("not shared")
        assert ingest.said("grants it and delivers nothing on it; going on with a plain one")
        with peer(broker) as gateway:
            gateway.send(tele(0, 10))
            wait_until(lambda: gateway.held() == set(range(10)), 20, "acknowledged all the same")


@pytest.mark.slow
def test_second_process_of_one_name_waits_and_says_so(tmp_path: Path, cluster: Postgres, database: str) -> None:
    (tmp_path / "two").mkdir()
    with Mosquitto(tmp_path) as broker, RunningIngest(tmp_path, broker.port, cluster.url(database)) as first:
        first.wait_for("shared in group")
        with RunningIngest(tmp_path / "two", broker.port, cluster.url(database)) as second:
            second.wait_for('an ingest named "ingest-1" is connected to this database already')
            first.kill()
            second.wait_for("shared in group")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("password", ("refuses", "password", "--database-password-file")),
        ("no password", ("wants a password", "--database-password-file")),
        ("no database", ("refuses", "nowhere", "createdb")),
        ("newer", ("has version 1000 of the tables", "upgrade this ingest")),
    ],
)
def test_what_a_person_has_to_mend_ends_it_with_code_1_and_what_to_do(
    tmp_path: Path, cluster: Postgres, database: str, fault: str, words: tuple[str, ...]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong" if fault == "password" else PASSWORD)
    secret.chmod(0o600)
    url = cluster.url("nowhere" if fault == "no database" else database, tcp=True)
    password = () if fault == "no password" else ("--database-password-file", str(secret))
    if fault == "newer":
        cluster.sql("create schema edge", database)
        cluster.sql("create table edge.migration (number int, name text)", database)
        cluster.sql("insert into edge.migration values (1000, 'later')", database)
    done = edge_agent("fleet", "ingest", "--broker", f"127.0.0.1:{free_port()}", "--database", url, *password)
    assert done.code == 1, done.err
    assert all(word in done.err for word in words), done.err
    assert "Traceback" not in done.err
    assert PASSWORD not in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--database", "postgresql://edge:secret@h/d"), "--database has a password in it"),
        (("--database", "what is this"), "--database:"),
        (("--broker", "mqtt://u:secret@h"), "--broker has a user in it"),
        (("--broker", "http://h"), "mqtt://HOST:PORT"),
        (("--name", "a/b"), "letters, digits"),
        (("--group", "a/b"), "cannot stand in a topic"),
        (("--ca", __file__), "mqtts://h:8883"),
    ],
)
def test_wrong_usage_is_code_2_and_shows_no_secret(arguments: tuple[str, ...], words: str) -> None:
    pytest.importorskip("psycopg", reason="the extra fleet is not installed here")
    done = edge_agent("fleet", "ingest", "--broker", "h", "--database", "host=h", *arguments)
    assert done.code == 2
    assert words in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_database_and_broker_that_are_not_there_are_waited_for(
    tmp_path: Path, cluster: Postgres, database: str
) -> None:
    port = free_port()
    nowhere = f"host=127.0.0.1 port={port} dbname=x user=y"
    with RunningIngest(tmp_path, port, nowhere) as ingest:
        ingest.wait_for("no database server for x at 127.0.0.1")
        assert ingest.said("is it running? check host and port; trying again in")
        assert ingest.stop() == 0
    with RunningIngest(tmp_path, port, cluster.url(database), "other") as ingest:
        ingest.wait_for(f"nothing listens at 127.0.0.1:{port}; is the broker running")
        ingest.signal(signal.SIGINT)
        assert ingest.wait() == 0
