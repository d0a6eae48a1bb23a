"""The firmware bridge: from a sample at the device to the action at the device, and what a full line costs to decode.

The C library's POSIX example behind a pseudo-terminal, and the real agent on its other end, with store and rules. Its
door opens and closes ten times a second; a rule answers with a command, which the device carries out and notes as a
sample of its own. Both samples have the device's clock, so the figure holds the whole way: frame, link, session,
engine, rule, command, receipt of it by the firmware. The limit beside the p99 is a bare hop between two threads. The
cost of the line is that of its own loop: bytes to samples; the limit beside it is a full line read after the same
pauses by os.read, and thrown away. Both are medians of runs that take turns: a processor that is idle between the
reads is fast in one minute and slow in the next.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benches.agents import ROOT, RunningAgent, site_text
from benches.figures import Figure, bare
from benches.terminals import device as writer
from edge_agent.event_log import read_log
from edge_agent.metrics import percentile
from edge_agent.types import Reading
from firmware_bridge.events import Batch, Cursor
from firmware_bridge.link import BACKLOG, Link, Port
from firmware_bridge.session import Session

_C = ROOT / "firmware_bridge" / "c"
_LINE_BYTES_PER_S = 921_600 / 10
_PUMP = Path(__file__).with_name("line_pump.py")
_MEMORY = next((path for path in ("/dev/shm", "/run") if Path(path).is_dir()), None)
_FULL_HZ = 20_000
"""Samples a second, more than the line carries: it is in continuous use."""


def measure(*, quick: bool = False) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = _built(folder)
        took_ms = latencies_ms(program, folder, 8.0 if quick else 90.0)
        idle = bare("hop", seconds=6.0, blocks=1)[1].get("idle_p99_ms")
        runs = range(1 if quick else 5)
        costs = [(line_cost(program, 6.0), bare_line_cost(6.0)) for _ in runs]
    share = median(share for (share, _), _ in costs)
    bare_share = median(bare_share for _, bare_share in costs)
    bytes_per_s = min(bytes_per_s for (_, bytes_per_s), _ in costs)
    return [
        Figure("device sample to action at the device, p50", percentile(took_ms, 0.5), "ms"),
        Figure("device sample to action at the device, p99", percentile(took_ms, 0.99), "ms", idle, budget=5.0),
        Figure("actions measured", len(took_ms), ""),
        Figure("link and decode at 921,600 baud", share * 100, "% of a core", bare_share * 100, budget=4.0),
        Figure("bytes a second while that was measured", bytes_per_s, "B/s"),
    ]


def latencies_ms(program: Path, folder: Path, seconds: float) -> list[float]:
    with tempfile.TemporaryDirectory(dir=_MEMORY) as volatile, device(program, 1000) as path:
        # as on a box, where the event log is in a tmpfs: it is written by the engine's thread
        (folder / "run").symlink_to(volatile)
        record = Path(volatile) / "record"
        agent = RunningAgent(folder, site_text(more=_SITE.replace("{path}", path)), "--record", str(record))
        with agent:
            agent.wait_for(_up, 20, "the device answers")
            time.sleep(seconds)
            agent.stop()
        return answered_ms(record)


def answered_ms(record: Path) -> list[float]:
    """By turn of the door: until the reply of the same value."""
    took: list[float] = []
    door: bool | None = None
    turned_ns: int | None = None
    for event in read_log(record)[1]:
        if not isinstance(event, Reading) or event.stream != "board":
            continue
        if "door" in event.values and event.values["door"] is not door:
            door = bool(event.values["door"])
            turned_ns = event.stamp.mono_ns
        elif "reply" in event.values and turned_ns is not None and bool(event.values["reply"]) is door:
            took.append((event.stamp.mono_ns - turned_ns) / 1e6)
            turned_ns = None
    return took[5:]


def line_cost(program: Path, seconds: float) -> tuple[float, float]:
    """(share of a core, scaled to a full line; bytes a second that there were)."""
    with device_on_a_line(program, _FULL_HZ) as path:
        session = Session(1)
        link = Link(path, 921_600, session)
        taken = _counted(link)
        _serve(link, 2.0)
        taken[0] = 0
        start, start_cpu = time.monotonic(), time.thread_time()
        _serve(link, seconds)
        cpu_s, wall_s = time.thread_time() - start_cpu, time.monotonic() - start
        link.release()
    bytes_per_s = taken[0] / wall_s
    return cpu_s / wall_s * _LINE_BYTES_PER_S / bytes_per_s, bytes_per_s


def bare_line_cost(seconds: float) -> float:
    """Share of a core of a loop that reads a full line with the link's own pauses, and throws it away."""
    frame = bytes(range(14, 244))  # one line: no LF and no CR in it
    hz = _LINE_BYTES_PER_S / (len(frame) + 1)
    with tempfile.TemporaryDirectory() as name, writer(Path(name, "bare"), [frame + b"\n"], hz):
        port = Port(f"{name}/bare", 921_600)
        taken, start, start_cpu = 0, time.monotonic(), time.thread_time()
        while time.monotonic() - start < seconds:
            time.sleep(0.001 * BACKLOG)
            select.select([port.fileno()], [], [], 0.1)
            taken += len(port.read())
        cpu_s = time.thread_time() - start_cpu
        port.close()
    return cpu_s * _LINE_BYTES_PER_S / taken


def _serve(link: Link, seconds: float) -> None:
    """Commits every second, as the agent's store does."""
    place: Cursor | None = None
    now = time.monotonic()
    end, commit = now + seconds, now + 1.0
    while now < end:
        for event in link.step(0.1):
            if isinstance(event, Batch):
                place = event.cursor
        now = time.monotonic()
        if place is not None and now >= commit:
            link.commit(place)
            commit = now + 1.0


def _counted(link: Link) -> list[int]:
    """How many bytes came, in its one element."""
    taken = [0]
    link.step(0.1)
    port: Any = link._port
    assert isinstance(port, Port)
    read = port.read

    def counting() -> bytes:
        data = read()
        taken[0] += len(data)
        return data

    port.read = counting  # type: ignore[method-assign]
    return taken


def _up(status: dict[str, Any]) -> bool:
    return any(s["name"] == "board" and s["up"] for s in status["sources"])


def _built(folder: Path) -> Path:
    program = folder / "device"
    sources = [str(_C / "examples" / "posix.c"), str(_C / "fwb.c")]
    argv = ["gcc", "-std=c99", "-O2", "-D_XOPEN_SOURCE=600", f"-I{_C}", *sources, "-lm", "-o", str(program)]
    subprocess.run(argv, check=True)
    return program


@contextmanager
def device(program: Path, rate_hz: int) -> Iterator[str]:
    """The path of the host's end: the device's line is the other."""
    ours, theirs = _terminal()
    child = subprocess.Popen([str(program), "-r", str(rate_hz)], stdin=ours, stdout=ours)
    try:
        yield os.ttyname(theirs)
    finally:
        _end(child)
        os.close(ours)
        os.close(theirs)


@contextmanager
def device_on_a_line(program: Path, rate_hz: int) -> Iterator[str]:
    """The same behind a line that carries no more than 921,600 baud: a busy line makes the firmware fill its frames,
    which a terminal without a speed does not."""
    near, far = _terminal()
    with device(program, rate_hz) as path:
        line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        argv = [sys.executable, str(_PUMP), str(line), str(near), str(_LINE_BYTES_PER_S)]
        pump = subprocess.Popen(argv, pass_fds=(line, near))
        try:
            yield os.ttyname(far)
        finally:
            _end(pump)
            for fd in (line, near, far):
                os.close(fd)


def _terminal() -> tuple[int, int]:
    """Both ends, raw."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    return ours, theirs


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


_SITE = """
[[source]]
name = "board"
kind = "serial_bridge"
device = "{path}"
[source.fields]
door = { type = "bool" }

[[actuator]]
name = "out"
kind = "bridge"
device = "{path}"

[[rule]]
id = "door"
when = "board.door"
for = "0s"
alert = false
actions = [{ set = "out.echo", value = 1, else_value = 0 }]
"""
