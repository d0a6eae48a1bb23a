"""What brokers may answer, one by one: reason codes, limits, and things that are no broker at all."""

import http.server
import threading
import time

import pytest
from doubles.scripted_broker import ScriptedBroker
from running import GATEWAY, running

TELE = GATEWAY.up("tele", "all")
RECEIVE_MAXIMUM_2 = b"\x21\x00\x02"
MAXIMUM_QOS_0 = b"\x24\x00"


def refuse(code, *, first):
    """A PUBACK for telemetry: `code` for the first so many, then success."""
    seen = []

    def puback(topic, payload):
        if topic != TELE:
            return 0
        seen.append(payload)
        return code if len(seen) <= first else 0

    return puback


@pytest.mark.parametrize(
    ("code", "name"), [(0x90, "topic_name_invalid"), (0x99, "payload_format_invalid")]
)  # fmt: skip
def test_a_row_that_is_refused_for_what_it_is_becomes_a_dead_letter(code, name):
    with ScriptedBroker(puback=refuse(code, first=1)) as broker, running(broker.port) as agent:
        agent.commit(4)
        agent.delivered(3)
        assert agent.outbox.dead == {(2, 1): name}


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
def test_a_row_that_is_refused_for_now_is_delivered_later(code):
    with ScriptedBroker(puback=refuse(code, first=2)) as broker, running(broker.port) as agent:
        agent.commit(4)
        agent.delivered(4, timeout_s=20)
        assert agent.outbox.dead == {}


def test_a_refused_row_is_never_reported_delivered_although_the_library_calls_it_published():
    with ScriptedBroker(puback=refuse(0x87, first=10**9)) as broker, running(broker.port) as agent:
        agent.commit(4)
        agent.wait_until(lambda: agent.health.value("publish_not_authorized") >= 4)
        assert agent.outbox.done == []


def test_no_subscriber_is_success_and_a_count():
    with ScriptedBroker(puback=lambda *_: 0x10) as broker, running(broker.port) as agent:
        agent.commit(3)
        agent.delivered(3)
        agent.wait_until(lambda: agent.health.value("no_subscribers") == 3)


def test_birth_counts_against_the_receive_maximum():
    answers = threading.Event()

    def hold(topic, payload):
        return 0 if answers.is_set() else None

    with ScriptedBroker(connack=(0, RECEIVE_MAXIMUM_2), puback=hold) as broker, running(broker.port) as agent:
        agent.commit(10)
        agent.wait_until(lambda: len(broker.published) == 2)
        agent.body.publish_latest("health", b"{}")
        agent.commit(1)
        time.sleep(0.3)
        assert len(broker.published) == 2


def test_rows_that_waited_for_the_window_when_the_connection_broke_are_sent_once():
    answers = threading.Event()

    def hold_birth(topic, payload):
        return 0 if answers.is_set() else None

    with ScriptedBroker(connack=(0, RECEIVE_MAXIMUM_2), puback=hold_birth) as broker, running(broker.port) as agent:
        agent.commit(4)
        agent.wait_until(lambda: len(broker.published) == 2)
        answers.set()
        broker.disconnect(0x8B)
        agent.delivered(4)
    bodies = [payload for topic, payload in broker.published if topic == TELE]
    assert len(bodies) == 5  # the first was in flight
    assert len(set(bodies)) == 4


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x84, "does not speak this MQTT version"),
        (0x85, "does not accept this client id"),
        (0x86, "wrong user name or password"),
        (0x87, "not authorized"),
        (0x89, "it is busy"),
        (0x97, "a quota is used up"),
    ],
)
def test_a_refused_connection_says_why_and_what_to_do(code, words):
    with ScriptedBroker(connack=(code, b"")) as broker, running(broker.port) as agent:
        assert words in agent.down_reason()
        assert agent.transport._dial_at_s - agent.transport._monotonic() > 50, "it is not asked again within seconds"


def test_a_take_over_is_named():
    with ScriptedBroker() as broker, running(broker.port) as agent:
        agent.connected()
        broker.disconnect(0x8E)
        assert "another client took over this client id" in agent.down_reason()


def test_a_broker_without_qos_1_is_refused():
    with ScriptedBroker(connack=(0, MAXIMUM_QOS_0)) as broker, running(broker.port) as agent:
        agent.commit(1)
        assert "offers QoS 0 only" in agent.down_reason()
        assert broker.published == []


def test_a_refused_subscription_is_named():
    with ScriptedBroker(suback=0x87) as broker, running(broker.port) as agent:
        agent.commit(1)
        agent.delivered(1)
        agent.wait_until(lambda: agent.health.value("subscriptions_refused") == 3)
        assert "not_authorized" in agent.health.to_dict(0)["notes"]["subscription_refused"]


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", b"<html>sign in</html>"])
def test_a_captive_portal_is_named_and_gets_no_payload(greeting):
    with ScriptedBroker(greeting=greeting) as portal, running(portal.port) as agent:
        agent.commit(3)
        assert "a web page answers" in agent.down_reason()
        assert "captive portal" in agent.down_reason()
        assert b"tele" not in bytes(portal.received)
        assert agent.outbox.waiting() == 3


def test_a_real_web_server_is_named():
    class Redirect(http.server.BaseHTTPRequestHandler):
        def handle(self):
            self.rfile.peek(1)
            self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\nContent-Length: 0\r\n\r\n")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with running(server.server_port) as agent:
            assert "a web page answers" in agent.down_reason()
        server.shutdown()


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"220 ESMTP\r\n"])
def test_what_is_no_broker_is_named(greeting):
    with ScriptedBroker(greeting=greeting) as other, running(other.port) as agent:
        assert "is not an MQTT broker" in agent.down_reason()


def test_a_broker_that_knows_only_3_1_1_is_named():
    with ScriptedBroker(greeting=b"\x20\x02\x00\x01") as old, running(old.port) as agent:
        assert 'try version = "3.1.1"' in agent.down_reason()


def test_a_closed_connection_without_an_answer_suggests_the_other_version():
    with ScriptedBroker(greeting=b"") as other, running(other.port) as agent:
        assert 'try version = "3.1.1"' in agent.down_reason()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x40\x02\x00\x00",  # PUBACK of packet 0
        b"\x40\x02\xff\xff",  # PUBACK of what was never sent
        b"\x90\x05\x00\x09\x00\x01\x01",  # SUBACK of what was never asked
        b"\x50\x02\x00\x01",  # PUBREC
    ],
)
def test_answers_to_nothing_confirm_nothing(garbage):
    with ScriptedBroker(puback=lambda *_: None) as broker, running(broker.port) as agent:
        agent.commit(1)
        agent.wait_until(lambda: len(broker.published) == 2)
        broker.say(garbage)
        time.sleep(0.2)
        assert agent.outbox.done == []
        assert agent.thread.is_alive()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00",  # a reserved packet type
        b"\xf0\x00",  # AUTH, never asked for
        b"\x30\xff\xff\xff\xff\xff",  # a length of five bytes
        b"\x32\x04\x00\x40ab",  # a topic longer than its packet
        b"\x30\x05\x00\x00\x02\x23\x00",  # a topic alias that stands for nothing
        b"\x40\x05\x00\x02\x00\x7f\x00",  # properties longer than the packet
    ],
)
def test_broken_packets_end_the_connection_and_never_the_thread(garbage):
    with ScriptedBroker() as broker, running(broker.port) as agent:
        agent.connected()
        broker.say(garbage)
        agent.wait_until(lambda: broker.connects >= 2 or agent.health.value("down_bad_topic"), 10)
        agent.commit(1)
        agent.delivered(1)


def test_row_58_a_topic_that_is_not_utf_8_is_dropped():
    with ScriptedBroker() as broker, running(broker.port) as agent:
        agent.connected()
        broker.say(b"\x30\x07\x00\x02\xff\xfe\x00xx")
        agent.wait_until(lambda: agent.health.value("down_bad_topic"))
        assert agent.inbound == []


def test_row_57_thousands_of_user_properties_cost_bounded_time():
    properties = b"\x26\x00\x01a\x00\x01b" * 1000
    publish = b"\x00\x03" + GATEWAY.down("cmd", "x").encode()[:3] + b"\xd8\x36" + properties + b"body"
    assert len(properties) == 7000
    with ScriptedBroker() as broker, running(broker.port) as agent:
        agent.connected()
        started = time.process_time()
        broker.say(b"\x30" + bytes([len(publish) & 127 | 128, len(publish) >> 7]) + publish)
        agent.wait_until(lambda: agent.inbound)
        assert time.process_time() - started < 1.0
        assert agent.inbound[0].body == b"body"
