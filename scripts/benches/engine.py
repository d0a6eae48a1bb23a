"""Engine with its runner and the store: CPU per reading from decoded bytes to committed row, and readings a second.

50 streams with a 30 s mean each, 20 rules, as fast as it goes; the event log's ring and the store's commits are in
it. The limit is the bare loop of the same work without rules, windows, threads and event log.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path

from benches.figures import Figure, bare
from benches.sites import bench_plan, make_store, readings
from edge_agent import event_log
from edge_agent.clock import SystemClock
from edge_agent.engine import Engine
from edge_agent.inbox import Inbox
from edge_agent.runner import Runner

STREAMS, HZ = 50, 10


def measure(*, quick: bool = False) -> list[Figure]:
    seconds = 20 if quick else 120
    limit, detail = bare("ingest", seconds=2.0 if quick else 6.0, streams=STREAMS, hz=HZ)
    cpu_us, rate, engine_us = run(seconds)
    return [
        Figure("CPU per reading, engine to commit", cpu_us, "us", limit, budget=12.0),
        Figure("readings through", rate, "1/s", detail.get("readings_per_s"), budget=50_000, least=True),
        Figure("CPU per reading, engine alone", engine_us, "us", detail.get("decode_append_us")),
    ]


def run(seconds: int) -> tuple[float, float, float]:
    """Seconds of data: CPU in us per reading of the whole process, readings a second, and of the engine alone."""
    plan = bench_plan(STREAMS, rules=20)
    rng = random.Random(1)
    events = [readings(rng, STREAMS, HZ, second) for second in range(seconds)]
    n = seconds * STREAMS * HZ
    engine_us = _engine_alone(plan, events, n)
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        writer, store = make_store(Path(folder), clock)
        inbox = Inbox()
        feed = inbox.feed("bench")
        head = event_log.header(epoch=writer.epoch, boot="b", site_sha256="", version="", whole=False)
        ring = event_log.Ring(Path(folder) / "events", head, 16_000_000)
        runner = Runner(
            Engine(plan, epoch=writer.epoch), inbox, clock, keep=_kept(store), actuators={}, lanes={}, sinks=[ring],
            watch=lambda _: None, unpaced=True,
        )  # fmt: skip
        threads = [threading.Thread(target=body.run, name=body.name) for body in (store, runner)]
        for thread in threads:
            thread.start()
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in events:
            left = batch
            while left:
                left = feed.offer_waiting(left, 1.0)
        while feed.pending:
            time.sleep(0.001)
        store.flush(60.0)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        runner.stop()
        threads[1].join()
        store.stop()
        threads[0].join()
    return cpu / n * 1e6, n / wall, engine_us


def _kept(store):
    def keep(effects):
        while not store.wait_room(1.0):
            pass
        store.put(effects)

    return keep


def _engine_alone(plan, events, n: int) -> float:
    engine = Engine(plan, epoch="bench")
    cpu = time.process_time()
    for batch in events:
        for event in batch:
            engine.handle(event)
    return (time.process_time() - cpu) / n * 1e6
