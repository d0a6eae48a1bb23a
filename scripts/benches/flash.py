"""Flash: device bytes a reading on an ext4 of its own, the file system's journal and all checkpoints included.

Engine, store thread and delivery are real, in the rhythm of one commit for each second of data, alarms at once; only
that second is not waited for: the store's clock is turned by hand. 20 rules, of which one raises and clears an alert
each minute; rows count as delivered a second after their commit. Measured when the quota has been reached, so that
trimming is in it. The quota is small, but large enough for the same checkpoints as the default one.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benches.backlog import Filler
from benches.figures import BARE, Figure, bare
from benches.sites import bench_plan, describe_bench, readings
from edge_agent.clock import FakeClock
from edge_agent.engine import Engine
from edge_agent.store.body import StoreBody
from edge_agent.store.database import open_reader
from edge_agent.store.opening import open_store
from edge_agent.store.outbox import Outbox
from edge_agent.store.writer import Committed, Writer
from edge_agent.types import Alert, Decision, Effect, Reading, Tick

STREAMS = 50
QUOTA_BYTES = 36_000_000
_ALERT_EVERY_S, _ALERT_FOR_S = 60, 5
_DAY_S = 86_400


def measure(*, quick: bool = False) -> list[Figure]:
    warm, seconds = (50, 100) if quick else (600, 1800)
    figures = []
    for hz in (10, 1):
        limit, detail = bare("flash", streams=STREAMS, hz=hz, seconds=seconds, warm=warm)
        written, why = device_bytes_of(hz, warm, seconds, fill=not quick)
        per_reading = None if written is None else written / (seconds * STREAMS * hz)
        per_day = None if written is None else written / seconds * _DAY_S / 1e9
        rhythm = f"{STREAMS} streams x {hz} Hz"
        figures += [
            Figure(f"device bytes a reading, {rhythm}", per_reading, "B", why or limit, 64 if hz == 10 else None),
            Figure(f"GB a day, {rhythm}", per_day, "GB", why or detail.get("gb_per_day"), 1 if hz == 1 else None),
        ]
    return figures


def device_bytes_of(hz: int, warm: int, seconds: int, *, fill: bool) -> tuple[int | None, str]:
    """Written in `seconds` of data after `warm`; None and the reason where that cannot be measured."""
    if why := _why_not():
        return None, why
    if str(BARE) not in sys.path:
        sys.path.insert(0, str(BARE))
    bare_flash: Any = importlib.import_module("flash")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with bare_flash.loop_ext4(folder, 512) as (device, mount):
                with closing(_Rhythm(mount, hz, fill=fill)) as rhythm:
                    rhythm.live(warm)
                    before = bare_flash.device_bytes(device, mount)
                    rhythm.live(seconds)
                    after = bare_flash.device_bytes(device, mount)
                return after - before, ""
        except subprocess.CalledProcessError as e:
            return None, f"{e.cmd[0]}: {e.stderr.strip()}"


def _why_not() -> str:
    if not (BARE / "flash.py").exists():
        return f"skipped: {BARE.name}/flash.py, which makes the file system, is not there"
    if os.geteuid() != 0:
        return "skipped: needs root (loop device and mount)"
    missing = [tool for tool in ("mkfs.ext4", "losetup", "mount") if not shutil.which(tool)]
    return f"skipped: not found: {', '.join(missing)}" if missing else ""


class _Rhythm:
    """A store thread on a clock that is turned by hand, fed by an engine; a second is as long as its work."""

    def __init__(self, folder: Path, hz: int, *, fill: bool) -> None:
        self._hz = hz
        self._rng = random.Random(1)
        self._second = 0
        self._clock = FakeClock()
        self._writer = writer = open_store(folder, gateway="bench", quota_bytes=QUOTA_BYTES, clock=self._clock)
        if fill:
            self._fill(writer)
        self._engine = Engine(bench_plan(STREAMS, rules=20), epoch=writer.epoch)
        self._store = StoreBody(writer, clock=self._clock, describe=describe_bench)
        self._committed = threading.Event()
        self._store.on_commit.append(self._on_commit)
        self._outbox = self._store.outbox()
        self._thread = threading.Thread(target=self._store.run)
        self._thread.start()

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            for batch in self._batches():
                self._put([effect for event in batch for effect in _handle(self._engine, event)])
            self._clock.advance(1.0)
            assert self._store.flush(60.0), self._store.failing
            _deliver_all(self._outbox)
            self._second += 1

    def close(self) -> None:
        self._store.stop()
        self._thread.join()
        self._outbox.close()
        self._writer.close()

    def _fill(self, writer: Writer) -> None:
        """Until the first rows have been trimmed. Nothing waits: delivered rows are the local history."""
        filler = Filler(writer, streams=STREAMS, hz=self._hz)
        with closing(open_reader(writer.path)) as reader:
            while (reader.one("SELECT min(id) FROM row2") or 1) == 1:
                filler.fill(200)
                writer.outgoing.settle(2, 1, writer.outgoing.newest(2))

    def _batches(self) -> Iterator[list[Reading]]:
        """What the sources hand over together: all streams at one instant."""
        events = readings(self._rng, STREAMS, self._hz, self._second)
        hot = self._second % _ALERT_EVERY_S < _ALERT_FOR_S
        for k in range(self._hz):
            batch = events[k * STREAMS : (k + 1) * STREAMS]
            if hot:
                first = batch[0]
                batch[0] = Reading(first.stream, first.stamp, {"temp": 35.0})
            yield batch

    def _put(self, effects: list[Effect]) -> None:
        """An alert is committed before the next instant, as it would be."""
        self._committed.clear()
        self._store.put(effects)
        if any(isinstance(effect, Decision | Alert) for effect in effects):
            self._committed.wait(60.0)

    def _on_commit(self, committed: Committed) -> None:  # noqa: ARG002
        self._committed.set()


def _handle(engine: Engine, event: Reading) -> list[Effect]:
    out: list[Effect] = []
    while engine.next_deadline() <= event.stamp.mono_ns:
        due_ns = engine.next_deadline()
        stamp = event.stamp
        out += engine.handle(Tick(type(stamp)(due_ns, stamp.wall_ns + due_ns - stamp.mono_ns, boot=stamp.boot)))
    return out + engine.handle(event)


def _deliver_all(outbox: Outbox) -> None:
    for prio in range(3):
        while rows := outbox.unacked(prio, 0, 100):
            outbox.delivered([(row.prio, row.id) for row in rows])
