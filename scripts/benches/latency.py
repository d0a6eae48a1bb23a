"""Reading to action at 1,000 readings/s with a healthy, a hung and a dead model, and an alarm beside a flood.

The real agent on a simulated motor: five fields with a window each, 20 rules, of which one acts about once a second,
the motor's model on every eighth reading, MQTT, the store on disk. A hung model is a stopped worker; a dead one is
killed each time it comes back, until its breaker opens, which falls into the block. Blocks of the three alternate; a
figure is the median of its blocks' p99, from the instant at which the reading is due to its rules decided and its
actions sent. The limit of these is the idle hop: their threads mostly wait. The alarm's time is from the device's
write to a pseudo-terminal to the command at the device.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benches.agents import MOSQUITTO, Mosquitto, RunningAgent, site_text, worker_pids
from benches.figures import Figure, bare
from benches.terminals import device, terminal
from edge_agent.metrics import Histogram, percentile

HZ, FLOOD_HZ, ALARM_HZ = 1000, 50_000, 10
FIELDS = ("load", "speed", "temp", "vibration", "current")
_RECOVERED_S = 120.0
"""An open breaker rests for 30 s, and longer when it opened again."""


def measure(*, quick: bool = False) -> list[Figure]:
    blocks, seconds = (1, 2.0) if quick else (5, 4.0)
    _, hop = bare("hop", seconds=6.0 if quick else 24.0, blocks=blocks)
    idle, busy = hop.get("idle_p99_ms"), hop.get("busy_p99_range_ms", [None])[-1]
    phases = models(blocks, seconds)
    p99 = {phase: median(h.quantile_ms(0.99) for h in some) for phase, some in phases.items()}
    alarms_ms = beside_a_flood(3.0 if quick else 60.0)
    counted = min(sum(h.count for h in some) for some in phases.values())
    return [
        *(Figure(f"reading to action p99, {phase}", p99[phase], "ms", idle, budget=5.0) for phase in phases),
        Figure("hung over healthy", p99["hung"] - p99["healthy"], "ms", budget=0.5),
        Figure("dead over healthy", p99["dead"] - p99["healthy"], "ms", budget=0.5),
        Figure("readings in the smallest phase", counted, ""),
        Figure("alarm to command p99, beside a flood", percentile(alarms_ms, 0.99), "ms", busy, budget=5.0),
        Figure("alarm to command p50, beside a flood", percentile(alarms_ms, 0.5), "ms"),
    ]


def models(blocks: int, seconds: float) -> dict[str, list[Histogram]]:
    """By phase, a histogram a block."""
    out: dict[str, list[Histogram]] = {"healthy": [], "hung": [], "dead": []}
    trouble: dict[str, Callable[[int], Iterator[Callable[[], None]]]] = {"hung": _hung, "dead": _dead}
    with _agent(_model_site(seconds)) as agent:
        for _ in range(blocks):
            agent.wait_for(_serving, _RECOVERED_S, "the model serves")
            for phase, some in out.items():
                if phase == "healthy":
                    some.append(_block(agent, seconds))
                    continue
                with contextmanager(trouble[phase])(agent.pid) as again:
                    some.append(_block(agent, seconds, again))
    return out


def _block(agent: RunningAgent, seconds: float, again: Callable[[], None] = lambda: None) -> Histogram:
    before = agent.ask("latency")["counts"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        again()
    after = agent.ask("latency")["counts"]
    return Histogram.of([b - a for a, b in zip(before, after, strict=True)])


def _hung(agent: int) -> Iterator[Callable[[], None]]:
    workers = worker_pids(agent)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    yield lambda: None
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1.0)  # what had waited is answered: no part of the next block


def _dead(agent: int) -> Iterator[Callable[[], None]]:
    def kill() -> None:
        for pid in worker_pids(agent):
            os.kill(pid, signal.SIGKILL)

    kill()
    yield kill


def _serving(status: dict[str, list[dict[str, dict[str, str]]]]) -> bool:
    return all(lane["notes"].get("state") == "serving" for lane in status["lanes"])


def beside_a_flood(seconds: float) -> list[float]:
    """In ms, one for each alarm."""
    numbers = [b'{"x":%d.5}\n' % i for i in range(5000)]
    with ExitStack() as stack:
        agent = stack.enter_context(_agent(_FLOOD_SITE))
        fd = stack.enter_context(terminal(agent.folder / "alarm"))
        stack.enter_context(device(agent.folder / "flood", numbers, FLOOD_HZ))
        agent.wait_for(lambda s: all(x["counts"].get("opened") for x in s["sources"]), 20, "both ports open")
        time.sleep(2.0)
        return [took for k in range(int(seconds * ALARM_HZ)) if (took := _alarm(fd, k)) is not None]


def _alarm(fd: int, k: int) -> float | None:
    """Sends a level that trips the rule or releases it; ms until the command came. None for the first, which may
    find the rule as it wants it."""
    sent_s = time.monotonic()
    os.write(fd, b'{"level":%d}\n' % (9 if k % 2 == 0 else 1))
    heard = b""
    while not heard.endswith(b"\n"):
        if not select.select([fd], [], [], 5.0)[0]:
            raise TimeoutError("no command within 5 s of an alarm")
        heard += os.read(fd, 4096)
    took_ms = (time.monotonic() - sent_s) * 1e3
    command = msgspec.json.decode(heard.splitlines()[-1])
    answer = {"ack": command["id"], "set": command["set"], "value": command["value"]}
    os.write(fd, msgspec.json.encode(answer) + b"\n")
    time.sleep(max(0.0, sent_s + 1 / ALARM_HZ - time.monotonic()))
    return took_ms if k else None


@contextmanager
def _agent(site: str) -> Iterator[RunningAgent]:
    """With a broker where there is one. Devices may come later: sources open a port as soon as it is there."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(Mosquitto(folder, "max_queued_messages 0", verbose=False)) if MOSQUITTO else None
        text = site_text(broker=broker.port if broker else None, ack="broker", more=site)
        yield stack.enter_context(RunningAgent(folder, text))


def _model_site(seconds: float) -> str:
    windows = "".join(
        f'[[signal]]\nname = "motor.{name}_mean"\nof = "motor.{name}"\nfn = "mean"\nwindow = "5s"\n'
        for name in FIELDS
    )
    rules = "".join(
        f'[[rule]]\nid = "r{i}"\nwhen = "motor.{FIELDS[i % 5]} > {10**6 + i} || motor.{FIELDS[i % 4]}_mean > 1e6"\n'
        for i in range(18)
    )
    return f"""
[[source]]
name = "motor"
kind = "simulated"
rate_hz = {HZ}

[[source]]
name = "pulse"
kind = "simulated"
rate_hz = 2

[[model]]
name = "bearing"
package = "motor-anomaly/1.0.0"
input = [{", ".join(f'"motor.{name}"' for name in FIELDS)}]
deadline_ms = {int(seconds * 1000) + 60_000}

[[actuator]]
name = "press"
kind = "log"
path = "{{folder}}/actions"

[[rule]]
id = "pulse"
when = "pulse.vibration > 1.0"
alert = false
actions = [{{ set = "press.relay", value = 1, else_value = 0 }}]

[[rule]]
id = "bearing"
when = "bearing.score > 1e6 || motor.temp > 1e6"
{windows}{rules}"""


_FLOOD_SITE = """
[[source]]
name = "flood"
kind = "serial_lines"
device = "{folder}/flood"
max_rate = 5000
[source.fields]
x = {}

[[source]]
name = "alarm"
kind = "serial_lines"
device = "{folder}/alarm"
[source.fields]
level = { type = "int" }

[[signal]]
name = "flood.mean"
of = "flood.x"
fn = "mean"
window = "5s"

[[actuator]]
name = "valve"
kind = "serial"
device = "{folder}/alarm"

[[rule]]
id = "alarm"
when = "alarm.level > 5"
alert = false
actions = [{ set = "valve.open", value = 1, else_value = 0 }]
"""
