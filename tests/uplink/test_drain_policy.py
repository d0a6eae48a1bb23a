"""What goes next, and when a row counts as delivered."""

import itertools

import pytest
from doubles.outbox import EPOCH, MemoryOutbox

from edge_agent.ports import Acked, BackendAck, Down, Refused, Up
from edge_agent.uplink.drain import UNCOVERED_ROWS, Drain, Policy
from edge_agent.uplink.set_aside import MOST, TRIES

S = 1_000_000_000


def key(row):
    return row.prio, row.id


def send_all(drain, now_ns):
    drain.look(now_ns)
    return [key(row) for row in iter(lambda: drain.next(now_ns), None)]


def ack(drain, keys, now_ns):
    drain.handle(Acked(tuple(keys)), now_ns)


def connected(outbox, window=10, now_ns=0, **policy):
    drain = Drain(outbox, Policy(**policy))
    drain.handle(Up(window), now_ns)
    return drain


def have(*ranges, stream="press"):
    return BackendAck(EPOCH, {stream: ranges})


def test_nothing_is_sent_while_the_transport_is_down():
    outbox = MemoryOutbox()
    outbox.commit()
    drain = Drain(outbox, Policy())
    assert send_all(drain, 0) == []
    drain.handle(Up(10), 0)
    drain.handle(Down("gone"), 0)
    assert send_all(drain, 0) == []


def test_never_more_rows_are_in_flight_than_the_window():
    outbox = MemoryOutbox()
    for _ in range(20):
        outbox.commit()
    drain = connected(outbox, window=4)
    assert send_all(drain, 0) == [(2, 1), (2, 2), (2, 3), (2, 4)]
    ack(drain, [(2, 1), (2, 3)], 0)
    assert send_all(drain, 0) == [(2, 5), (2, 6)]


def test_telemetry_in_flight_is_bounded_in_bytes_and_an_alert_still_goes():
    outbox = MemoryOutbox()
    for _ in range(20):
        outbox.commit(body=b"x" * 40_000)
    drain = connected(outbox, window=50)
    assert len(send_all(drain, 0)) == 2  # 64 KiB are passed with the second
    outbox.commit(prio=0)
    assert send_all(drain, 0) == [(0, 1)]


def test_alerts_go_first_then_what_is_committed_now_then_the_backlog_oldest_first():
    outbox = MemoryOutbox()
    old = [key(outbox.commit()) for _ in range(3)]
    drain = connected(outbox)
    live = [key(outbox.commit()), key(outbox.commit(prio=1))]
    alert = key(outbox.commit(prio=0))
    assert send_all(drain, 0) == [alert, live[1], live[0], *old]


def test_a_backlog_of_alerts_and_live_telemetry_share_the_line():
    outbox = MemoryOutbox()
    for _ in range(10):
        outbox.commit(prio=0)
    drain = connected(outbox, window=6)
    for _ in range(10):
        outbox.commit()
    prios = [prio for prio, _ in send_all(drain, 0)]
    assert sorted(prios) == [0, 0, 0, 2, 2, 2]


def test_live_rows_that_cannot_keep_up_become_backlog_and_newer_ones_go_first():
    outbox = MemoryOutbox()
    drain = connected(outbox, window=1)
    now = 0
    sent = []
    for _ in range(200):  # 10 commits a second, 4 acknowledged
        now += S // 10
        outbox.commit()
        drain.look(now)
        if (row := drain.next(now)) is not None:
            sent.append((now, row.id))
        if now % (S // 4) < S // 10:
            ack(drain, [(2, sent[-1][1])], now)
    newest_lag = min(200 - row_id for _, row_id in sent[-5:])
    assert newest_lag < 30
    while outbox.waiting():
        ack(drain, send_all(drain, now), now)
    assert sorted(row_id for _, row_id in outbox.done) == list(range(1, 201))


def test_backlog_rate_holds_the_backlog_but_not_live_rows():
    outbox = MemoryOutbox()
    for _ in range(100):
        outbox.commit()
    drain = connected(outbox, window=1000, backlog_rate=5)
    sent = 0
    for step in range(101):
        now = step * S // 10
        sent += len(send_all(drain, now))
    assert 48 <= sent <= 52
    live = key(outbox.commit())
    assert live in send_all(drain, now)


def test_a_capped_backlog_tells_when_the_next_row_may_go():
    outbox = MemoryOutbox()
    outbox.commit()
    outbox.commit()
    drain = connected(outbox, backlog_rate=2)
    assert len(send_all(drain, 0)) == 1
    assert drain.deadline_ns(0) == pytest.approx(S // 2, abs=10)


def test_rows_in_flight_when_the_connection_breaks_are_sent_again():
    outbox = MemoryOutbox()
    for _ in range(5):
        outbox.commit()
    drain = connected(outbox, window=3)
    send_all(drain, 0)
    ack(drain, [(2, 2)], 0)
    drain.handle(Down("gone"), 0)
    assert outbox.done == [(2, 2)]
    drain.handle(Up(10), 0)
    assert send_all(drain, 0) == [(2, 1), (2, 3), (2, 4), (2, 5)]


def test_a_confirmation_that_arrives_after_the_break_changes_nothing():
    outbox = MemoryOutbox()
    outbox.commit()
    drain = connected(outbox)
    send_all(drain, 0)
    drain.handle(Down("gone"), 0)
    ack(drain, [(2, 1)], 0)
    assert outbox.done == []


def test_broker_mode_delivers_on_the_brokers_confirmation():
    outbox = MemoryOutbox()
    outbox.commit()
    drain = connected(outbox)
    ack(drain, send_all(drain, 0), 0)
    assert outbox.done == [(2, 1)]


class TestBackendMode:
    def test_the_brokers_confirmation_delivers_nothing(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        assert outbox.done == []
        drain.handle(have((0, 9)), 0)
        assert outbox.done == [(2, 1)]

    def test_a_row_needs_every_one_of_its_segments(self):
        outbox = MemoryOutbox()
        outbox.commit(streams=("press", "oven"))
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        drain.handle(have((0, 9)), 0)
        drain.handle(have((0, 8), stream="oven"), 0)
        assert outbox.done == []
        drain.handle(have((0, 9), stream="oven"), 0)
        assert outbox.done == [(2, 1)]

    def test_ranges_of_another_epoch_cover_nothing(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        drain.handle(BackendAck("01KE0000000000000000000000", {"press": ((0, 9),)}), 0)
        assert outbox.done == []

    def test_what_was_never_sent_is_not_covered_whatever_the_backend_claims(self):
        outbox = MemoryOutbox()
        outbox.commit()
        outbox.commit()
        drain = connected(outbox, window=1, backend=True)
        send_all(drain, 0)
        drain.handle(have((0, 2**63 - 1)), 0)
        assert outbox.done == [(2, 1)]

    def test_coverage_may_overtake_the_brokers_confirmation(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True)
        sent = send_all(drain, 0)
        drain.handle(have((0, 9)), 0)
        ack(drain, sent, 0)
        assert outbox.done == [(2, 1)]
        assert drain.to_dict(0)["in_flight"] == 0

    def test_uncovered_rows_are_sent_again_after_their_time_then_less_often(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True, resend_after_ns=10 * S)
        times = []
        for now in range(0, 160 * S, S):
            if keys := send_all(drain, now):
                times.append(now // S)
                ack(drain, keys, now)
        assert times == [0, 10, 30, 70, 150]

    def test_a_row_that_the_broker_has_not_confirmed_yet_is_not_sent_twice(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True, resend_after_ns=S)
        assert send_all(drain, 0) == [(2, 1)]
        assert [send_all(drain, now) for now in range(S, 20 * S, S)] == [[]] * 19

    def test_when_the_backend_returns_after_a_silence_the_short_time_counts_again(self):
        outbox = MemoryOutbox()
        lost = key(outbox.commit())
        drain = connected(outbox, backend=True, resend_after_ns=10 * S)
        for now in range(0, 100 * S, S):
            ack(drain, send_all(drain, now), now)
        other = outbox.commit(streams=("oven",))
        ack(drain, send_all(drain, 100 * S), 100 * S)
        drain.handle(have((0, 9), stream="oven"), 100 * S)
        assert outbox.done == [key(other)]
        assert send_all(drain, 109 * S) == []
        assert send_all(drain, 111 * S) == [lost]

    def test_after_a_reconnect_the_short_time_counts_again(self):
        outbox = MemoryOutbox()
        lost = key(outbox.commit())
        drain = connected(outbox, backend=True, resend_after_ns=10 * S)
        for now in range(0, 100 * S, S):
            ack(drain, send_all(drain, now), now)  # next in turn at 150 s
        drain.handle(Down("the broker died, and what it had confirmed with it"), 100 * S)
        drain.handle(Up(10), 101 * S)
        assert send_all(drain, 110 * S) == []
        assert send_all(drain, 112 * S) == [lost]

    def test_a_row_that_the_store_dropped_meanwhile_is_forgotten(self):
        outbox = MemoryOutbox()
        row = outbox.commit()
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        outbox.drop(row)
        assert send_all(drain, 31 * S) == []
        assert drain.to_dict(0)["uncovered"] == 0

    def test_rejected_rows_go_to_the_dead_letters_when_the_rest_is_settled(self):
        outbox = MemoryOutbox()
        outbox.commit(streams=("press", "oven"))
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        drain.handle(BackendAck(EPOCH, {}, (("press", 4, "schema"),)), 0)
        assert outbox.dead == {}
        drain.handle(have((0, 9), stream="oven"), 0)
        assert outbox.dead == {(2, 1): "schema"}
        assert outbox.done == []

    def test_sent_and_uncovered_rows_are_bounded_and_alerts_have_their_own_bound(self):
        outbox = MemoryOutbox()
        for _ in range(UNCOVERED_ROWS + 50):
            outbox.commit()
        drain = connected(outbox, window=10_000, backend=True)
        sent = send_all(drain, 0)
        assert len(sent) == UNCOVERED_ROWS
        ack(drain, sent, 0)
        alert = key(outbox.commit(prio=0))
        assert send_all(drain, 0) == [alert]

    def test_a_silent_backend_is_a_named_trouble_and_no_reason_to_drop(self):
        outbox = MemoryOutbox()
        outbox.commit()
        drain = connected(outbox, backend=True, resend_after_ns=30 * S)
        ack(drain, send_all(drain, 0), 0)
        assert drain.trouble(89 * S) == ""
        assert drain.trouble(91 * S).startswith("no backend acknowledgements for 91 s; is the ingest running")
        drain.handle(have((0, 9)), 92 * S)
        assert drain.trouble(92 * S) == ""
        assert outbox.dead == {}

    def test_rows_without_numbers_are_delivered_by_the_broker(self):
        outbox = MemoryOutbox()
        outbox.commit(streams=())
        drain = connected(outbox, backend=True)
        ack(drain, send_all(drain, 0), 0)
        assert outbox.done == [(2, 1)]


def test_a_poison_row_is_a_dead_letter_at_once_and_the_others_flow():
    outbox = MemoryOutbox()
    for _ in range(3):
        outbox.commit()
    drain = connected(outbox)
    send_all(drain, 0)
    drain.handle(Refused((2, 2), "payload_format_invalid", retry=False), 0)
    ack(drain, [(2, 1), (2, 3)], 0)
    assert outbox.dead == {(2, 2): "payload_format_invalid"}
    assert outbox.done == [(2, 1), (2, 3)]


def test_a_row_refused_for_now_is_tried_again_and_given_up_after_its_tries():
    outbox = MemoryOutbox()
    outbox.commit()
    drain = connected(outbox)
    tries = 0
    now = 0
    while outbox.waiting():
        for row in send_all(drain, now):
            tries += 1
            drain.handle(Refused(row, "implementation_specific", retry=True), now)
        now += S
        assert now < 1000 * S
    assert tries == TRIES
    assert outbox.dead == {(2, 1): "implementation_specific"}


@pytest.mark.parametrize("code", ["quota_exceeded", "not_authorized"])
def test_refusals_that_say_nothing_about_the_row_never_cost_it(code):
    outbox = MemoryOutbox()
    outbox.commit()
    drain = connected(outbox)
    now = 0
    for now in range(0, 3600 * S, S):
        for row in send_all(drain, now):
            drain.handle(Refused(row, code, retry=True), now)
    assert outbox.dead == {}
    assert drain.trouble(now).startswith(f"rows are refused: {code}; ")
    for later in range(now, now + 200 * S, S):
        ack(drain, send_all(drain, later), later)
    assert outbox.done == [(2, 1)]


def test_a_used_up_quota_holds_everything_back_for_a_while():
    outbox = MemoryOutbox()
    for _ in range(20):
        outbox.commit()
    drain = connected(outbox, window=1)
    (row,) = send_all(drain, 0)
    drain.handle(Refused(row, "quota_exceeded", retry=True), 0)
    assert send_all(drain, S - 1) == []
    assert send_all(drain, S + 1) != []


def test_a_forbidden_topic_does_not_stop_other_priorities():
    outbox = MemoryOutbox()
    for _ in range(3 * MOST):
        outbox.commit()
    drain = connected(outbox, window=8)
    for _ in range(3 * MOST):
        for row in send_all(drain, 0):
            drain.handle(Refused(row, "not_authorized", retry=True), 0)
    assert drain.to_dict(0)["set_aside"] <= MOST + 8
    alert = key(outbox.commit(prio=0))
    assert alert in send_all(drain, 0)


class HangsUp:
    """A broker that closes the connection when it sees one certain row, and answers nothing that came with it."""

    def __init__(self, outbox, poison, window=20):
        self.drain = Drain(outbox, Policy())
        self.outbox = outbox
        self.poison = poison
        self.window = window
        self.breaks = 0
        self.now = 0

    def connect_and_run(self):
        self.now += 2 * S
        self.drain.handle(Up(self.window), self.now)
        for _ in range(50):
            self.now += S // 100
            keys = send_all(self.drain, self.now)
            assert len(keys) == len(set(keys))
            if self.poison in keys:
                self.breaks += 1
                self.drain.handle(Down("closed"), self.now)
                return
            ack(self.drain, keys, self.now)
        self.drain.handle(Down("end of the minute"), self.now)


def test_a_row_that_makes_the_broker_hang_up_becomes_a_dead_letter_and_all_others_arrive():
    outbox = MemoryOutbox()
    for _ in range(100):
        outbox.commit()
    broker = HangsUp(outbox, poison=(2, 37))
    for _ in range(200):
        broker.connect_and_run()
        outbox.commit()
        if outbox.dead:
            break
    broker.connect_and_run()
    broker.connect_and_run()
    assert outbox.dead == {(2, 37): "disconnects"}
    assert outbox.waiting() <= 1
    assert broker.breaks < 20


def test_others_flow_within_a_few_connections_of_the_first_hang_up():
    outbox = MemoryOutbox()
    for _ in range(100):
        outbox.commit()
    broker = HangsUp(outbox, poison=(2, 37))
    for _ in range(8):
        broker.connect_and_run()
    assert len(outbox.done) == 99


def test_a_flapping_network_costs_no_row():
    outbox = MemoryOutbox()
    for _ in range(50):
        outbox.commit()
    drain = Drain(outbox, Policy())
    now = 0
    for round_ in itertools.count():
        now += S
        drain.handle(Up(5), now)
        for row in send_all(drain, now)[: round_ % 3]:
            ack(drain, [row], now)
        drain.handle(Down("flap"), now)
        if not outbox.waiting():
            break
        assert round_ < 500
    assert outbox.dead == {}
    assert len(outbox.done) == 50


def test_reading_the_outbox_costs_the_same_however_much_waits():
    reads = []
    for waiting in (100, 10_000):
        outbox = MemoryOutbox()
        for _ in range(waiting):
            outbox.commit()
        drain = connected(outbox, window=50)
        for _ in range(2):
            ack(drain, send_all(drain, 0), 0)
        reads.append(outbox.reads)
    assert reads[0] == reads[1]
