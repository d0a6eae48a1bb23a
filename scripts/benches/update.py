"""Reading to action at 1,000 readings/s while another device of the gateway gets new firmware.

The real agent on a simulated motor, as in `latency`, beside a board with MCUboot on a line of 115,200 baud, and then
on one of 1,000,000. `edge-agent mcu flash` gives the board image after image, each with everything: start of the
command, checks, upload, boot on trial, health window, confirmation. Blocks of a second during updates and blocks
without one alternate, update by update; a figure is the median of the block p99s, and its limit the idle hop. Also
what an update costs: the processor's time of its command, and what it adds to that of the agent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benches.agents import MOSQUITTO, ROOT, Mosquitto, RunningAgent, cpu_s, site_text
from benches.figures import Figure, bare
from benches.latency import BLOCK_S, block, motor_site
from edge_agent.metrics import Histogram
from tests.doubles import mcuboot

_BAUDS = (115_200, 1_000_000)
_IMAGE_BYTES = 40_000
_UPDATE_S = 120.0
_BOARD = Path(__file__).with_name("board.py")


@dataclass
class Phase:
    blocks: list[Histogram] = field(default_factory=list)
    agent_s: float = 0.0
    wall_s: float = 0.0

    @property
    def p99_ms(self) -> float:
        return median(h.quantile_ms(0.99) for h in self.blocks)

    @property
    def count(self) -> int:
        return sum(h.count for h in self.blocks)


@dataclass
class Cost:
    """Of all updates on one line."""

    cpu_s: float = 0.0
    waits: int = 0
    updates: int = 0


def measure(*, quick: bool = False) -> list[Figure]:
    busy, hop = bare("hop", seconds=6.0 if quick else 24.0)
    idle = hop.get("idle_p99_ms", busy)
    figures = []
    for baud in _BAUDS[:1] if quick else _BAUDS:
        figures += _on_line(baud, idle, updates=1 if quick else 5)
    return figures


def _on_line(baud: int, idle: float | str, updates: int) -> list[Figure]:
    quiet, during, cost, lost = updates_on(baud, updates)
    line, ms = f"{baud:,} baud", "ms"
    added_s = during.agent_s / during.wall_s - quiet.agent_s / quiet.wall_s
    return [
        Figure(f"reading to action p99, quiet ({line})", quiet.p99_ms, ms, idle, budget=5.0),
        Figure(f"reading to action p99, during updates ({line})", during.p99_ms, ms, idle, budget=5.0),
        Figure(f"during updates over quiet ({line})", during.p99_ms - quiet.p99_ms, ms, budget=0.5),
        Figure(f"readings of the other source lost ({line})", lost, "", budget=0),
        Figure(f"readings in the smaller phase ({line})", min(quiet.count, during.count), ""),
        Figure(f"CPU of one update, start to end ({line})", cost.cpu_s / cost.updates, "s"),
        Figure(f"the same, share of a core ({line})", 100 * cost.cpu_s / during.wall_s, "%"),
        Figure(f"its wake-ups ({line})", cost.waits / during.wall_s, "1/s"),
        Figure(f"CPU that it adds to the agent, share of a core ({line})", 100 * added_s, "%"),
    ]


def updates_on(baud: int, updates: int) -> tuple[Phase, Phase, Cost, int]:
    """Blocks without and during updates, what these cost, and how many readings the other source lost."""
    quiet, during, cost = Phase(), Phase(), Cost()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        private, public = mcuboot.keypair(folder, "key")
        mcuboot.image(folder, private, "1.0.0", name="first.bin")
        stack.enter_context(_board(folder, baud))
        broker = stack.enter_context(Mosquitto(folder, "max_queued_messages 0", verbose=False)) if MOSQUITTO else None
        text = site_text(broker=broker.port if broker else None, ack="broker", more=motor_site() + _DRIVE)
        agent = stack.enter_context(RunningAgent(folder, text.replace("{public}", str(public))))
        agent.wait_for(lambda s: all(x["up"] for x in s["sources"]), 20, "all sources up")
        for number in range(updates):
            image = mcuboot.image(folder, private, f"1.{1 + number}.0", size=_IMAGE_BYTES)
            _during(agent, image, during, cost)
            agent.wait_for(lambda s: _drive(s)["up"], 20, "the board's source is back")
            time.sleep(BLOCK_S)
            _quiet(agent, quiet, len(during.blocks))
        counts = next(s["counts"] for s in agent.status()["sources"] if s["name"] == "motor")
    return quiet, during, cost, counts.get("shed", 0) + counts.get("missed", 0)


def _drive(status: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return next(s for s in status["sources"] if s["name"] == "drive")


def _during(agent: RunningAgent, image: Path, during: Phase, cost: Cost) -> None:
    """All whole blocks of one update."""
    words = ["mcu", "flash", str(image), "drive", "--site", str(agent.site), "--json"]
    with (agent.folder / "flash.log").open("ab") as log:
        began_s, agent_s = time.monotonic(), cpu_s(agent.pid)
        # as from a technician's login, whose session the kernel weighs against that of the service
        command = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", *words], stdout=log, stderr=log, cwd=ROOT, start_new_session=True
        )
        end_s = began_s + _UPDATE_S
        while time.monotonic() < end_s:
            one = block(agent, lambda: None)
            pid, code, used = os.wait4(command.pid, os.WNOHANG)
            if pid:
                break
            during.blocks.append(one)
        else:
            command.kill()
    if not pid or code:
        raise RuntimeError(f"the update failed: {(agent.folder / 'flash.log').read_text()[-1000:]}")
    command.returncode = code
    during.wall_s += time.monotonic() - began_s
    during.agent_s += cpu_s(agent.pid) - agent_s
    cost.cpu_s += used.ru_utime + used.ru_stime
    cost.waits += used.ru_nvcsw
    cost.updates += 1


def _quiet(agent: RunningAgent, quiet: Phase, until: int) -> None:
    """As many blocks as there are of updates."""
    began_s, agent_s = time.monotonic(), cpu_s(agent.pid)
    while len(quiet.blocks) < until:
        quiet.blocks.append(block(agent, lambda: None))
    quiet.wall_s += time.monotonic() - began_s
    quiet.agent_s += cpu_s(agent.pid) - agent_s


@contextmanager
def _board(folder: Path, baud: int) -> Iterator[None]:
    argv = [sys.executable, str(_BOARD), str(folder), str(baud)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=ROOT) as child:
        try:
            yield
        finally:
            assert child.stdin is not None
            child.stdin.close()


_DRIVE = """
[[source]]
name = "drive"
kind = "serial_lines"
device = "{folder}/port"
[source.fields]
temp = { unit = "Cel" }

[[mcu]]
name = "drive"
source = "drive"
key = "{public}"
board = "press-v2"
health = "samples"
window = "6s"
"""
