"""The uplink's thread: what it tells, how it ends, and that a bug costs nothing."""

import socket
import threading
import time

import pytest
from doubles.flaky_uplink import FlakyUplink
from doubles.outbox import MemoryOutbox

from edge_agent.clock import SystemClock
from edge_agent.health import PartHealth
from edge_agent.links.mqtt import Session
from edge_agent.links.mqtt_types import Lost, Settings
from edge_agent.ports import Down, Inbound, Up
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.drain import Drain, Policy


class Agent:
    def __init__(self, **options):
        self.outbox = MemoryOutbox()
        self.transports = []
        self.health = PartHealth("uplink")
        self.changes = []
        self.inbound = []
        self.body = UplinkBody(
            self._transport, lambda: Drain(self.outbox, Policy(**options)), clock=SystemClock(), health=self.health,
            post=self.changes.extend, inbound=self._came,
        )  # fmt: skip
        self.thread = None

    def _transport(self):
        self.transports.append(FlakyUplink())
        return self.transports[-1]

    def _came(self, message):
        self.inbound.append(message)
        if message.body == b"bug":
            raise ZeroDivisionError

    @property
    def transport(self):
        return self.transports[-1]

    def start(self):
        def run():
            try:
                self.body.run()
            except ZeroDivisionError:
                return

        self.thread = threading.Thread(target=run)
        self.thread.start()
        return self

    def wait_until(self, found, timeout_s=5):
        end = time.monotonic() + timeout_s
        while not found():
            assert time.monotonic() < end, self.body.to_dict()
            time.sleep(0.005)

    def stop(self):
        self.body.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def agent():
    agent = Agent()
    yield agent.start()
    agent.stop()


def test_a_commit_is_sent_at_once_and_not_at_the_next_turn(agent):
    agent.transport.say(Up(10))
    agent.wait_until(lambda: agent.body.to_dict()["connected"])
    for _ in range(5):
        started = time.monotonic()
        agent.outbox.commit()
        agent.body.wake()
        count = len(agent.outbox.done)
        agent.wait_until(lambda count=count: len(agent.outbox.done) > count)
        assert time.monotonic() - started < 0.5


def test_the_rules_hear_when_delivering_stops_and_starts(agent):
    agent.transport.say(Up(10))
    agent.wait_until(lambda: agent.changes)
    agent.transport.say(Down("the cable"))
    agent.wait_until(lambda: len(agent.changes) == 2)
    agent.transport.say(Down("the broker"))
    agent.wait_until(lambda: agent.health.reason == "the broker")
    agent.transport.say(Up(10))
    agent.wait_until(lambda: len(agent.changes) == 3)
    assert [(c.part, c.up, c.reason) for c in agent.changes] == [
        ("uplink", True, ""), ("uplink", False, "the cable"), ("uplink", True, ""),
    ]  # fmt: skip


def test_the_first_attempt_is_no_news(agent):
    agent.body.wake()
    time.sleep(0.1)
    assert agent.changes == []


def test_messages_from_the_backend_go_on_untouched(agent):
    message = Inbound("edge/v1/t/s/g/down/cmd/x", b"\xff\x00", True)
    agent.transport.say(message)
    agent.wait_until(lambda: agent.inbound)
    assert agent.inbound == [message]


def test_only_the_newest_document_is_published(agent):
    for n in range(5):
        agent.body.publish_latest("health", b"%d" % n)
    agent.wait_until(lambda: agent.transport.documents.get("health") == b"4")


def test_after_a_bug_it_goes_on_with_everything(agent):
    agent.transport.say(Up(10))
    agent.body.publish_latest("health", b"{}")
    agent.transport.deaf = True
    for _ in range(5):
        agent.outbox.commit()
    agent.body.wake()
    agent.wait_until(lambda: agent.body.to_dict()["in_flight"] == 5)
    agent.transport.say(Inbound("t", b"bug", False))
    agent.thread.join(5)
    assert agent.transport.closed
    agent.start()  # as the supervisor does
    agent.wait_until(lambda: len(agent.transports) == 2)
    agent.transport.say(Up(10))
    agent.wait_until(lambda: len(agent.outbox.done) == 5)
    assert agent.transport.documents == {"health": b"{}"}


def test_stop_ends_a_wait(agent):
    time.sleep(0.05)
    started = time.monotonic()
    agent.stop()
    assert time.monotonic() - started < 0.5
    assert agent.transport.closed


def test_progress_is_seen_while_nothing_happens(agent):
    before = agent.body.progress_ns
    agent.wait_until(lambda: agent.body.progress_ns > before, 3)


def test_row_12_a_resolver_that_hangs_holds_nobody_up(monkeypatch):
    hang = threading.Event()

    def getaddrinfo(*_args, **_options):
        hang.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    session = Session(Settings(host="broker.plant", port=1883, client_id="x"))
    started = time.monotonic()
    assert session.poll(0.1) == []
    threading.Timer(0.1, session.wake).start()
    assert session.poll(10.0) == []
    assert time.monotonic() - started < 1.5
    hang.set()
    events = []
    while not events:
        events = session.poll(1.0)
    assert isinstance(events[0], Lost)
    assert "broker.plant" in events[0].reason
    session.close()


def test_closing_while_it_dials_leaves_nothing_open(monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))
    go = threading.Event()
    connect = socket.create_connection

    def slow(*args, **options):
        go.wait(10)
        return connect(*args, **options)

    monkeypatch.setattr(socket, "create_connection", slow)
    session = Session(Settings(host="127.0.0.1", port=listener.getsockname()[1], client_id="x"))
    session.close()
    go.set()
    connection, _ = listener.accept()
    connection.settimeout(5)
    while connection.recv(4096):
        pass  # CONNECT at most, then the end
    connection.close()
    listener.close()
