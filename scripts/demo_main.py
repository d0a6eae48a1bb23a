#!/usr/bin/env python3
"""The main job for about a minute: a motor on a serial port, a meter before a camera, models, rules, SQLite, MQTT.

The broker is taken away and comes back, the model's worker is killed, then hangs on every input until its breaker
opens. It ends by itself with a verdict that it computed; exit code 0 only if the verdict holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
from demo_backend import DemoBackend
from demo_broker import DemoBroker
from demo_processes import AgentProcess, Device
from demo_site import write_site
from demo_story import Story
from demo_verdict import Verdict, judge, lines
from demo_view import show
from render_meter_video import render

from edge_agent.errors import EdgeError
from edge_agent.store.reader import view_store

RATE_HZ = 100.0
BEARING_INPUT = ["motor.load", "motor.speed", "motor.temp", "motor.vibration", "motor.current"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="its length (default 60, at least 20)")
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object, as the last line")
    parser.add_argument("--keep", type=Path, help="leave the site file, the database and the log in this new folder")
    args = parser.parse_args()
    if not 20 <= args.seconds <= 86_400:
        parser.error("--seconds: give 20 to 86400")
    if args.keep:
        try:
            args.keep.mkdir(parents=True)
        except FileExistsError:
            parser.error(f"--keep: {args.keep} is there already; give the name of a new folder")
        except OSError as e:
            parser.error(f"--keep: {args.keep}: {e.strerror}; give a new folder where you may write")
    with ExitStack() as stack:
        if args.keep:
            folder = args.keep.resolve()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-demo-")))
        try:
            verdict = run(folder, args.seconds)
        except EdgeError as e:
            print(f"demo: {e}", file=sys.stderr)
            return 1
        report = sys.stderr if args.json else sys.stdout
        print(*lines(verdict), sep="\n", file=report, flush=True)
        if not verdict.ok:
            _show_log(folder / "agent.log")
        if args.json:
            print(msgspec.json.encode(verdict).decode(), flush=True)
    return 0 if verdict.ok else 1


def run(folder: Path, seconds: float) -> Verdict:
    """The whole demo in this folder."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        print("rendering the meter's video from held-out digits…", file=sys.stderr, flush=True)
        video = folder / "meter.avi"
        render(video, min(seconds, 60.0), 10.0, seed=1)
        broker = stack.enter_context(DemoBroker())
        backend = DemoBackend(broker.port)
        backend.start()
        stack.callback(backend.stop)
        device = Device(rate_hz=RATE_HZ)
        stack.callback(device.close)
        site = write_site(folder, port=device.port, video=video, broker=broker.port, bearing_input=BEARING_INPUT)
        agent = AgentProcess(site, folder)
        stack.callback(agent.stop)
        story = Story(seconds, agent=agent, device=device, broker=broker, backend=backend)
        show(story.run(), story, seconds=seconds)
        report = device.stop()
        arrived = story.settle(30.0, lambda: _received(backend) >= report.get("produced", 0))
        show(arrived, story, seconds=seconds)
        children = agent.children()
        agent_exit = agent.stop()
        orphans = _alive_after(children, 3.0)
        # what was committed is read from the database of the agent that has ended
        committed = view_store(folder / "data" / "store").last.get("motor", -1) + 1
        return judge(
            device=report, committed=committed, delivered=_received(backend), tally=backend.verdict(),
            seen=story.seen, agent_exit=agent_exit, orphans=orphans, seconds=time.monotonic() - began_s,
        )  # fmt: skip




def _received(backend: DemoBackend) -> int:
    return backend.received("motor")


def _alive_after(pids: list[int], timeout_s: float) -> int:
    """How many of these processes have not ended."""
    end_s = time.monotonic() + timeout_s
    while any(map(_alive, pids)) and time.monotonic() < end_s:
        time.sleep(0.05)
    return sum(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _show_log(log: Path) -> None:
    if log.exists():
        tail = log.read_text(encoding="utf-8", errors="backslashreplace").splitlines()[-25:]
        print("the end of the agent's log:", *tail, sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
