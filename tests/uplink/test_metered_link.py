"""A link that costs: what goes first, what waits, what is thinned and declared, and what it really cost."""

import json
import random
import socket
import threading
import time

import pytest
from doubles.mosquitto import Mosquitto
from doubles.mqtt_peer import MqttPeer
from doubles.outbox import MemoryOutbox
from doubles.tcp_proxy import TcpProxy
from hypothesis import given, settings
from hypothesis import strategies as st
from running import GATEWAY, LockedOutbox, Running

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.config.site import AgentConfig, BudgetConfig, SiteConfig, UplinkConfig
from edge_agent.contract import decode
from edge_agent.links import wire
from edge_agent.ports import Acked, Down, Up
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.budget import DAY_NS, Limits, Spender, cost_bytes
from edge_agent.uplink.build import make_uplink
from edge_agent.uplink.drain import Drain, Policy
from edge_agent.uplink.metering import Meter
from edge_agent.uplink.mqtt import Identity, MqttUplink
from tests.store.box import Box

S = 1_000_000_000
HOUR = 3600 * S
LIMITS = Limits(1_000_000, 200_000, keepalive_s=300)


def metered(tmp_path, outbox, limits=LIMITS, now=0, **options):
    return Meter(limits, outbox, tmp_path / "budget.json", "boot", now, **options)


class Line:
    """A drain whose broker confirms at once; remembers what went, in its order."""

    def __init__(self, tmp_path, limits=LIMITS, **options):
        self.outbox = MemoryOutbox()
        self.meter = metered(tmp_path, self.outbox, limits, **options)
        self.drain = Drain(self.outbox, Policy(), self.meter)
        self.drain.handle(Up(50), 0)
        self.sent = []

    def turn(self, now):
        self.drain.look(now)
        while (row := self.drain.next(now)) is not None:
            self.sent.append((row.prio, row.id))
            self.drain.handle(Acked(((row.prio, row.id),)), now)


def test_alerts_go_while_predictions_telemetry_and_backlog_wait_in_that_order(tmp_path):
    line = Line(tmp_path)
    counts = {0: 0, 1: 0, 2: 0}
    for minute in range(6 * 60):
        now = minute * 60 * S
        for prio, times in ((2, 4), (1, 1)):
            for _ in range(times):
                line.outbox.commit(prio, b"x" * 400)
        if minute % 30 == 0:
            line.outbox.commit(0, b"x" * 400)
        line.turn(now)
    for prio, _ in line.sent:
        counts[prio] += 1
    assert counts[0] == 12, "every alert"
    assert counts[1] > 3 * counts[2] > 0, "predictions before telemetry"
    told = line.drain.to_dict(6 * HOUR - 60 * S)["budget"]
    assert told["used_bytes"] <= LIMITS.per_day_bytes
    assert set(told["waits_s"]) == {"prediction", "live", "backlog"}
    assert told["waits_s"]["prediction"] < told["waits_s"]["live"] < told["waits_s"]["backlog"]
    assert line.outbox.waiting() == 6 * 60 * 5 + 12 - len(line.sent), "what waits is kept"


def test_live_rows_that_go_are_the_newest_and_spread_over_the_day(tmp_path):
    line = Line(tmp_path)
    when = {}
    for minute in range(24 * 60):
        now = minute * 60 * S
        line.outbox.commit(2, b"x" * 2000)
        before = len(line.sent)
        line.turn(now)
        when |= dict.fromkeys(line.sent[before:], minute)
    lags = [minute - (row_id - 1) for (_, row_id), minute in when.items()]
    assert max(lags) == 0, "what waits goes only when there is something left"
    by_quarter = [sum(q * 360 <= minute < (q + 1) * 360 for minute in when.values()) for q in range(4)]
    assert min(by_quarter) > 0.6 * max(by_quarter)


def test_when_even_the_reserve_is_used_up_it_is_said_with_when_it_goes_on(tmp_path):
    line = Line(tmp_path)
    for _ in range(2000):
        line.outbox.commit(0, b"x" * 2000)
    line.turn(HOUR)
    assert 0 < len(line.sent) < 2000
    assert line.drain.to_dict(HOUR)["budget"]["used_bytes"] <= LIMITS.per_day_bytes + cost_bytes(2000)
    trouble = line.drain.trouble(HOUR)
    assert "the day's 1,000,000 bytes are used up; it goes on in 23.0 h" in trouble
    assert "uplink.budget.per_day" in trouble
    line.turn(DAY_NS + S)
    assert line.drain.trouble(DAY_NS + S) != "" or not line.outbox.waiting()
    assert len(line.sent) > 300


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), breaks=st.booleans())
def test_never_more_than_the_budget_and_one_message_and_nothing_undeclared(tmp_path_factory, seed, rows, breaks):
    line = Line(tmp_path_factory.mktemp("day"), Limits(300_000, 60_000, keepalive_s=600))
    rng = random.Random(seed)
    now, costs = 0, {}
    for _ in range(120):
        now += rng.randint(1, 1800) * S
        for _ in range(rng.randint(0, rows)):
            line.outbox.commit(rng.choice((0, 1, 2, 2, 2, 2)), b"x" * rng.randint(50, 4000))
        sizes = {(r.prio, r.id): len(r.body) for rows_ in line.outbox.rows for r in rows_.values()}
        before = len(line.sent)
        line.turn(now)
        for key in line.sent[before:]:
            costs[now // DAY_NS] = costs.get(now // DAY_NS, 0) + cost_bytes(sizes[key])
        if breaks and rng.random() < 0.1:
            line.drain.handle(Down("gone"), now)
            line.drain.handle(Up(50), now)
    assert max(costs.values(), default=0) <= 300_000 + cost_bytes(4000)
    waiting = {(r.prio, r.id) for rows_ in line.outbox.rows for r in rows_.values()}
    done, thin = line.outbox.done, line.outbox.thin
    committed = {(prio, n) for prio in range(3) for n in range(1, line.outbox.newest(prio) + 1)}
    assert len(done) + len(thin) + len(waiting) == len(committed)
    assert {*done, *thin} | waiting == committed
    assert all(prio == 2 for prio, _ in thin)


def test_telemetry_is_thinned_by_every_second_row_only_while_a_week_could_not_carry_it(tmp_path):
    line = Line(tmp_path, Limits(100_000, 10_000, keepalive_s=3600))
    carried = 7 * line.meter.budget.telemetry_bytes // cost_bytes(1500)
    line.drain.handle(Down("the night"), 0)
    for _ in range(2 * carried):
        line.outbox.commit(2, b"x" * 1500)
    line.drain.handle(Up(50), S)
    for i in range(400):
        line.turn(S + i * S // 5)
    thin = sorted(row_id for _, row_id in line.outbox.thin)
    assert thin[:50] == list(range(thin[0], thin[0] + 100, 2))
    left = line.outbox.waiting()
    assert 0.9 * carried < left < 1.05 * carried, "and then it stops"
    for i in range(100):
        line.turn(100 * S + i * S)
    assert sorted(row_id for _, row_id in line.outbox.thin) == thin
    assert line.drain.to_dict(0)["thinned"] == len(thin)


def test_who_wants_no_thinning_keeps_every_row(tmp_path):
    line = Line(tmp_path, Limits(100_000, 10_000, keepalive_s=3600), thin=False)
    line.drain.handle(Down("the night"), 0)
    for _ in range(2000):
        line.outbox.commit(2, b"x" * 1500)
    line.drain.handle(Up(50), S)
    for i in range(50):
        line.turn(S + i * S)
    assert line.outbox.thin == []


def test_thinned_rows_of_the_real_store_are_declared_and_are_no_dead_letters(tmp_path):
    box = Box(tmp_path / "store", quota_bytes=64_000_000)
    for _ in range(6):
        box.commit(box.telemetry(("press",), count=10))
    rows = box.outbox.unacked(2, 0, 10)
    box.outbox.thinned([(2, rows[0].id), (2, rows[2].id)])
    box.commit()
    ledger = [decode.decode_row(row.body) for row in box.outbox.unacked(0, 0, 10) if row.kind == "ledger"]
    gaps = [gap for entry in ledger if type(entry).__name__ == "GapMessage" for gap in decode.lost(entry)]
    assert [(stream, first, last, why) for stream, _, first, last, why in gaps] == [
        ("press", 0, 9, "thinned"), ("press", 20, 29, "thinned"),
    ]  # fmt: skip
    assert [row.id for row in box.outbox.unacked(2, 0, 10)] == [rows[i].id for i in (1, 3, 4, 5)]
    assert box.writer._db.one("SELECT count(*) FROM dead") == 0
    box.close()


def test_the_day_outlives_a_restart_and_a_kill_never_gives_bytes_back(tmp_path):
    outbox = MemoryOutbox()
    meter = metered(tmp_path, outbox)
    row = outbox.commit(0, b"x" * 10_000)
    meter.sent(0, row, S)
    meter.save(2 * S, now=True)
    cost = cost_bytes(10_000)
    assert metered(tmp_path, outbox, now=3 * S).budget.to_dict(3 * S)["used_bytes"] == cost
    for second in range(3, 100):
        meter.sent(0, row, second * S)
        meter.save(second * S)
        spent = meter.budget.to_dict(second * S)["used_bytes"]
        after_a_kill = metered(tmp_path, outbox, now=second * S).budget.to_dict(second * S)["used_bytes"]
        assert spent <= after_a_kill <= spent + LIMITS.per_day_bytes // 100 + cost


def test_kills_charge_one_stretch_a_day_and_nothing_of_it_to_the_urgent(tmp_path):
    path, now, stretch = tmp_path / "budget.json", 0, LIMITS.per_day_bytes // 100
    for _ in range(200):
        meter = metered(tmp_path, MemoryOutbox(), now=now)
        meter.connected("ppp0", now)
        meter.save(now)
        now += 5 * S
    assert meter.budget.to_dict(now)["used_bytes"] == stretch
    metered(tmp_path, MemoryOutbox(), now=now).save(now, now=True)
    assert metered(tmp_path, MemoryOutbox(), now=now).budget.to_dict(now)["used_bytes"] == stretch, "not forgotten"
    most = LIMITS.per_day_bytes - stretch // 2
    path.write_text(json.dumps({"elapsed_ns": DAY_NS - S, "used": most, "urgent": most, "open": True}))
    full = metered(tmp_path, MemoryOutbox()).budget
    assert full.allows(Spender.URGENT, 0)
    assert not full.allows(Spender.PREDICTION, 0)
    full.allows(Spender.URGENT, S)
    assert full.to_dict(S)["used_bytes"] == 0, "another day"


BROKEN = [
    b"", b"\xff", b"[]", b'{"used":"x"}', b"[" * 100_000, b'{"used":-5}', b'{"urgent":-1}', b'{"elapsed_ns":-1}',
    b'{"used":1' + b"0" * 40 + b"}", b'{"used":7,"elapsed_ns":86400000000000}', b'{"used":7,"mono_ns":-1}',
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_begins_a_new_day(tmp_path, content):
    (tmp_path / "budget.json").write_bytes(content)
    assert metered(tmp_path, MemoryOutbox()).budget.to_dict(0)["used_bytes"] == 0


def test_only_links_that_cost_are_counted(tmp_path):
    meter = metered(tmp_path, MemoryOutbox(), interfaces=("wwan*", "ppp0"))
    for link, costs in (("eth0", False), ("wwan0", True), ("ppp0", True), ("wlan0", False), ("", True)):
        meter.connected(link, 0)
        assert meter.budget.metered is costs, link


def test_a_connection_over_a_free_link_is_not_counted_and_holds_nothing_back(tmp_path):
    outbox, clock = LockedOutbox(), SystemClock()
    limits = Limits(100_000, 10_000)
    meter = Meter(
        limits, outbox, tmp_path / "budget.json", clock.boot, clock.mono_ns(), interfaces=("wwan*",)
    )  # fmt: skip
    with Mosquitto(tmp_path, verbose=False) as broker:
        agent = MeteredRunning(broker.port, meter, outbox)
        agent.thread.start()
        agent.connected()
        agent.commit(100, body=random.Random(1).randbytes(3000))
        agent.delivered(100)
        told = agent.body.to_dict()["budget"]
        agent.body.stop()
        agent.thread.join(10)
    assert (told["metered"], told["used_bytes"], told["waits_s"]) == (False, 0, {})


class MeteredRunning(Running):
    """As Running, with a budget."""

    def __init__(self, port, meter, outbox, **config):
        super().__init__(port, outbox=outbox, budget=BudgetConfig(per_day="20MB"), **config)
        config = UplinkConfig(kind="mqtt", host="127.0.0.1", port=port, budget=BudgetConfig(per_day="20MB"), **config)
        self.body = UplinkBody(
            lambda: MqttUplink(config, Identity(GATEWAY, "E", 1), counters=self.health, rng=random.Random(4)),
            lambda: Drain(self.outbox, Policy(), meter),
            clock=SystemClock(), health=self.health, post=self._changed, inbound=self._came, meter=meter,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.body.run, daemon=True)


def test_what_is_counted_is_what_went_over_the_wire(tmp_path):
    outbox = LockedOutbox()
    clock = SystemClock()
    meter = Meter(Limits(20_000_000, 2_000_000), outbox, tmp_path / "budget.json", clock.boot, clock.mono_ns())
    with Mosquitto(tmp_path, verbose=False) as broker, TcpProxy(broker.port) as proxy:
        agent = MeteredRunning(proxy.port, meter, outbox)
        agent.thread.start()
        agent.connected()
        for _ in range(30):
            agent.commit(1, body=random.Random(1).randbytes(2000))
        agent.delivered(30)
        used = agent.wait_until(
            lambda: (told := agent.body.to_dict()["budget"]["used_bytes"]) > proxy.forwarded and told
        )
        assert proxy.forwarded > 60_000
        assert used < 1.5 * proxy.forwarded, (used, proxy.forwarded)
        agent.body.stop()
        agent.thread.join(10)
    again = Meter(Limits(20_000_000, 2_000_000), outbox, tmp_path / "budget.json", clock.boot, clock.mono_ns())
    assert again.budget.to_dict(clock.mono_ns())["used_bytes"] >= used


def test_health_waits_for_its_part_of_the_day_and_only_the_newest_is_sent(tmp_path):
    outbox = LockedOutbox()
    clock = SystemClock()
    meter = Meter(Limits(1_000_000, 100_000), outbox, tmp_path / "budget.json", clock.boot, clock.mono_ns())
    with Mosquitto(tmp_path, verbose=False) as broker, MqttPeer(broker.port, GATEWAY.up("health")) as peer:
        agent = MeteredRunning(broker.port, meter, outbox)
        agent.thread.start()
        agent.connected()
        for number in range(50):
            agent.body.publish_latest("health", b'{"n":%d}' % number + b" " * 6000)
            time.sleep(0.02)
        told = agent.body.to_dict()
        agent.body.stop()
        agent.thread.join(10)
    assert 1 <= len(peer.messages) < 10
    assert told["budget"]["used_bytes"] < 100_000


def test_the_kernel_counts_and_names_the_link_of_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        near.sendall(b"x" * 10_000)
        got = 0
        while got < 10_000:
            got += len(far.recv(65536))
        assert 10_000 < wire.bytes_of(near) < 13_000
        assert wire.interface_of(near) == "lo"
        near.close()
        far.close()


def test_a_site_with_a_budget_has_a_meter_and_a_folder_has_none(tmp_path):
    for kind, has in (("mqtt", True), ("file", False)):
        site = SiteConfig(
            agent=AgentConfig(gateway="gw1", data_dir=str(tmp_path)),
            uplink=UplinkConfig(kind=kind, dir=str(tmp_path), budget=BudgetConfig(per_day="20MB")),
        )
        uplink = make_uplink(
            site, "E", 1, MemoryOutbox(), clock=FakeClock(), health=None, post=None, inbound=None,
            rng=random.Random(1),
        )  # fmt: skip
        assert ("budget" in uplink.to_dict()) is has
        if has:
            assert uplink.to_dict()["budget"]["reserve_left_bytes"] == 2_000_000
        uplink._uplink.close()
