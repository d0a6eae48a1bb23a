"""Drain of a backlog into mosquitto, its cost at every size of backlog, live data and alerts meanwhile, and the start
before it.

Rows of 50 streams x 1 Hz: 50 readings a row, the dear kind. The cost is the CPU of the uplink's own thread, from the
moment it is connected until all is delivered, in this process, over a store that holds so many readings and a
broker that is real; the rest is the real agent. The limit is a loop that publishes such rows from memory. An alert's
way is from the line that its cause is written to, over its rule and the store, to a subscriber.
"""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benches.agents import MOSQUITTO, Mosquitto, RunningAgent, cpu_s, site_text, wait_until
from benches.backlog import Filler
from benches.figures import Figure, bare
from benches.sites import streams_site
from benches.start import start_s
from benches.terminals import device, terminal
from edge_agent.clock import SystemClock
from edge_agent.config.site import AgentConfig, SiteConfig, UplinkConfig
from edge_agent.contract import decode
from edge_agent.contract.messages import Alerted, Tele
from edge_agent.health import PartHealth
from edge_agent.store.opening import open_store
from edge_agent.store.outbox import Outbox
from edge_agent.store.writer import Writer
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.build import make_uplink

STREAMS, HZ = 50, 1
PER_ROW = STREAMS * HZ
QUOTA_BYTES = 2_000_000_000
_SMALL = 10_000
_BUTTONS = 10
"""By turns, since an alert that is raised more than ten times a minute is summed up."""
_PANEL = """
[[source]]
name = "panel"
kind = "serial_lines"
device = "{folder}/panel"
[source.fields]
pressed = { type = "int" }
""" + "".join(
    f'[[rule]]\nid = "stop{i}"\nwhen = "panel.pressed == {i}"\nseverity = "critical"\n'
    for i in range(1, _BUTTONS + 1)
)


def measure(*, quick: bool = False) -> list[Figure]:
    if MOSQUITTO is None:
        return [Figure("drain", None, "readings/s", "skipped: mosquitto is not installed")]
    large = 50_000 if quick else 5_000_000
    limit, detail = bare("publish", seconds=2.0 if quick else 8.0, streams=STREAMS, per_row=HZ)
    cost_us = costs([_SMALL, large] if quick else [_SMALL, 100_000, 1_000_000, large], 3 if quick else 30)
    bare_us = detail.get("cpu_us_per_row")
    agent = with_agent(large)
    bare_us = bare_us and bare_us / PER_ROW
    bare_rate = detail.get("readings_per_s", limit)
    least, most = min(cost_us.values()), max(cost_us.values())
    return [
        Figure(f"drain, {large:,} readings waiting", agent.rate, "1/s", bare_rate, 20_000, least=True),
        *(Figure(f"uplink CPU per reading, {n:,} waiting", us, "us", bare_us) for n, us in cost_us.items()),
        Figure("most over least of these", most / least, "x", budget=1.15),
        Figure("agent CPU per reading while it drains", agent.cpu_us, "us", bare_us),
        Figure("oldest reading of a live row on arrival, at most", agent.lag_s, "s", budget=5.0),
        Figure(f"alert raised meanwhile, at the subscriber, most of {agent.alerts}", agent.alert_s, "s", budget=1.0),
        Figure(f"restart after SIGKILL, {large:,} waiting", agent.restart_s, "s", budget=2.0),
    ]  # fmt: skip


def costs(sizes: list[int], times: int) -> dict[int, float]:
    """By readings waiting: us of the uplink's thread per reading; small backlogs several times over."""
    out = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Mosquitto(folder, "max_queued_messages 0", "max_inflight_messages 0", verbose=False) as broker:
            writer = open_store(folder / "store", gateway="gw1", quota_bytes=QUOTA_BYTES, clock=SystemClock())
            with closing(writer):
                filler = Filler(writer, streams=STREAMS, hz=HZ)
                for size in sizes:
                    runs = max(min(times, 3_000_000 // size), 1)
                    out[size] = median(_drained_us(writer, filler, size, broker.port) for _ in range(runs))
    return out


def _drained_us(writer: Writer, filler: Filler, size: int, port: int) -> float:
    filler.fill(size // PER_ROW)
    meter = _Meter("uplink")
    uplink = _uplink(writer, meter, port)
    thread = threading.Thread(target=uplink.run)
    thread.start()
    clock_id = time.pthread_getcpuclockid(thread.ident or 0)
    last = writer.outgoing.newest(2)
    wait_until(lambda: not writer.outgoing.waiting(2, last - 1), 600, "everything delivered")
    spent_s = time.clock_gettime(clock_id) - meter.connected_s
    uplink.stop()
    thread.join()
    assert not writer.outgoing.waiting(2)
    return spent_s / size * 1e6


class _Meter(PartHealth):
    """Notes the CPU time of the thread that says that it is connected."""

    connected_s = 0.0

    def count(self, name: str, n: int = 1) -> None:
        super().count(name, n)
        if name == "connects":
            self.connected_s = time.thread_time()


def _uplink(writer: Writer, health: PartHealth, port: int) -> UplinkBody:
    site = SiteConfig(
        agent=AgentConfig(gateway="gw1"), uplink=UplinkConfig(kind="mqtt", host="127.0.0.1", port=port)
    )  # fmt: skip
    uplink = make_uplink(
        site, writer.epoch, writer.start_no, Outbox(writer.path, writer.outgoing), clock=SystemClock(), health=health,
        post=lambda _: None, inbound=lambda _: None, rng=random.Random(1),
    )  # fmt: skip
    assert uplink is not None
    return uplink


class Drained(NamedTuple):
    """What the real agent did with a backlog: readings/s, us of CPU per reading, and seconds."""

    restart_s: float
    rate: float
    cpu_us: float
    lag_s: float
    alert_s: float
    alerts: int


def with_agent(readings: int) -> Drained:
    site, lines = streams_site(STREAMS, rules=20, group="live")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = open_store(folder / "data" / "store", gateway="gw1", quota_bytes=QUOTA_BYTES, clock=SystemClock())
        with closing(writer):
            Filler(writer, streams=STREAMS, hz=HZ).fill(readings // PER_ROW)
        broker = Mosquitto(folder, "max_queued_messages 0", "max_inflight_messages 0", verbose=False)
        more = f'[store]\nquota = "2GB"\n{site}'
        agent = RunningAgent(folder, site_text(broker=broker.port, ack="broker", more=more + _PANEL))
        with device(folder / "port", lines, STREAMS * 10), terminal(folder / "panel") as panel:
            start_s(agent)  # ended by SIGKILL
            restart_s = start_s(agent)
            with broker, agent:
                return _drain(agent, broker.port, readings // PER_ROW, restart_s, panel)


def _drain(agent: RunningAgent, port: int, rows: int, restart_s: float, panel: int) -> Drained:
    """What it costs while it drains; how far live data was behind, and how soon alerts were there."""
    with _Subscriber(port) as heard:
        first = agent.wait_for(_is_at_work, 60, "connected")["uplink"]
        pressing = _Pressing(panel, heard)
        began, began_wall, cpu = time.perf_counter(), time.time(), cpu_s(agent.pid)
        last = agent.wait_for(lambda s: s["uplink"]["waiting"] < PER_ROW, 600, "all delivered")["uplink"]
        took_s, spent_s = time.perf_counter() - began, cpu_s(agent.pid) - cpu
        wait_until(lambda: heard.lags_s(began_wall), 10, "live data")
        lag_s = max(heard.lags_s(began_wall))
        alerts = pressing.end()
    assert last["delivered"] >= rows
    delivered = (last["delivered"] - first["delivered"]) * PER_ROW
    rate, cpu_us = delivered / took_s, spent_s / delivered * 1e6
    return Drained(restart_s, rate, cpu_us, lag_s, max(alerts), len(alerts))


def _is_at_work(status: dict[str, Any]) -> bool:
    return bool(status["uplink"]["connected"] and all(s["counts"].get("opened") for s in status["sources"]))


class _Pressing:
    """Presses a button once a second, in a thread of its own, and waits for its alert each time."""

    def __init__(self, panel: int, heard: _Subscriber) -> None:
        self._panel = panel
        self._heard = heard
        self._took_s: list[float] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> list[float]:
        """Seconds from the line to the subscriber, of each press; at least one."""
        self._enough.set()
        self._thread.join(40)
        assert self._took_s, "no alert reached the subscriber"
        return self._took_s

    def _run(self) -> None:
        for turn in itertools.count():
            seen, began = self._heard.raised, time.perf_counter()
            os.write(self._panel, b'{"pressed":%d}\n' % (turn % _BUTTONS + 1))
            wait_until(lambda seen=seen: self._heard.raised > seen, 30, "the alert at the subscriber")
            self._took_s.append(time.perf_counter() - began)
            os.write(self._panel, b'{"pressed":0}\n')
            if self._enough.wait(1.0):
                return


class _Subscriber:
    """Of the live group and of alerts alone; `raised` counts those."""

    def __init__(self, port: int) -> None:
        self.raised = 0
        self._rows: list[tuple[float, float]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._took
        self._client.on_connect = lambda client, *_: client.subscribe(
            [("edge/v1/t/s/gw1/up/tele/live", 1), ("edge/v1/t/s/gw1/up/alert", 1)]
        )
        self._ready = threading.Event()
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)

    def lags_s(self, since: float) -> list[float]:
        """How old the oldest reading of each row was on arrival, of rows that began after `since` (UTC)."""
        return [came - oldest for oldest, came in self._rows if oldest >= since]

    def __enter__(self) -> _Subscriber:
        self._client.loop_start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _took(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        row = decode.decode_row(message.payload)
        if isinstance(row, Alerted):
            self.raised += row.state == "raised" and "stop" in row.dedupe_key
            return
        assert isinstance(row, Tele)
        self._rows.append((row.t0 / 1e3, time.time()))
