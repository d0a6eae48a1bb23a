"""Reading to action at 1,000 readings/s with a healthy, a hung and a dead model, and an alarm beside a flood.

The real agent on a simulated motor: five fields with a window each, 20 rules, of which one acts about once a second,
the motor's model on every eighth reading, MQTT, the store on disk. A hung model is a stopped worker; a dead one is
killed each time it comes back, until its breaker opens, which falls into it. The three alternate, four seconds at a
time; a figure is the median p99 of blocks of a second, from the instant at which the reading is due to its rules
decided and its actions sent. The limit of these is the idle hop: their threads mostly wait. The alarm's time is from
the device's write to a pseudo-terminal to the command at the device.
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
from benches.terminals import device, echo, terminal
from edge_agent.metrics import Histogram, percentile

HZ, FLOOD_HZ, ALARM_HZ = 1000, 50_000, 10
FIELDS = ("load", "speed", "temp", "vibration", "current")
BLOCK_S = 1.0
_RECOVERED_S = 120.0
"""An open breaker rests for 30 s, and longer when it opened again."""


def measure(*, quick: bool = False) -> list[Figure]:
    busy, hop = bare("hop", seconds=6.0 if quick else 24.0)
    idle = hop.get("idle_p99_ms", busy)
    phases = models(1, 2) if quick else models(5, 4)
    p99 = {phase: median(h.quantile_ms(0.99) for h in some) for phase, some in phases.items()}
    alarms_ms, echoes_ms = beside_a_flood(3.0 if quick else 60.0)
    counted = min(sum(h.count for h in some) for some in phases.values())
    return [
        *(Figure(f"reading to action p99, {phase}", p99[phase], "ms", idle, budget=5.0) for phase in phases),
        Figure("hung over healthy", p99["hung"] - p99["healthy"], "ms", budget=0.5),
        Figure("dead over healthy", p99["dead"] - p99["healthy"], "ms", budget=0.5),
        Figure("readings in the smallest phase", counted, ""),
        Figure("alarm to command p99, beside a flood", percentile(alarms_ms, 0.99), "ms", busy, budget=5.0),
        Figure("alarm to command p50, beside a flood", percentile(alarms_ms, 0.5), "ms"),
        Figure("a bare echo p99, on such a terminal then", percentile(echoes_ms, 0.99), "ms"),
        Figure("a bare echo p50, on such a terminal then", percentile(echoes_ms, 0.5), "ms"),
    ]


def models(rounds: int, blocks: int) -> dict[str, list[Histogram]]:
    """By phase, a histogram a block, `blocks` of them in each round."""
    out: dict[str, list[Histogram]] = {"healthy": [], "hung": [], "dead": []}
    trouble = {"healthy": _healthy, "hung": _hung, "dead": _dead}
    with _agent(motor_site() + _model(blocks)) as agent:
        for _ in range(rounds):
            agent.wait_for(_serving, _RECOVERED_S, "the model serves")
            for phase, some in out.items():
                with contextmanager(trouble[phase])(agent.pid) as again:
                    some += [block(agent, again) for _ in range(blocks)]
    return out


def block(agent: RunningAgent, again: Callable[[], None]) -> Histogram:
    """From reading to action during one second, in which `again` is called ten times."""
    before = agent.ask("latency")["counts"]
    end = time.monotonic() + BLOCK_S
    while time.monotonic() < end:
        time.sleep(0.1)
        again()
    after = agent.ask("latency")["counts"]
    return Histogram.of([b - a for a, b in zip(before, after, strict=True)])


def _healthy(agent: int) -> Iterator[Callable[[], None]]:  # noqa: ARG001
    time.sleep(1.0)  # what had waited is answered: no part of a block
    yield lambda: None


def _hung(agent: int) -> Iterator[Callable[[], None]]:
    workers = worker_pids(agent)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    yield lambda: None
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1.0)


def _dead(agent: int) -> Iterator[Callable[[], None]]:
    def kill() -> None:
        for pid in worker_pids(agent):
            os.kill(pid, signal.SIGKILL)

    kill()
    yield kill


def _serving(status: dict[str, list[dict[str, dict[str, str]]]]) -> bool:
    return all(lane["notes"].get("state") == "serving" for lane in status["lanes"])


def beside_a_flood(seconds: float) -> tuple[list[float], list[float]]:
    """In ms, one for each alarm; and between them, what a terminal takes there and back with nobody in between."""
    numbers = [b'{"x":%d.5}\n' % i for i in range(5000)]
    alarms, echoes = [], []
    with ExitStack() as stack:
        agent = stack.enter_context(_agent(_FLOOD_SITE))
        fd = stack.enter_context(terminal(agent.folder / "alarm"))
        stack.enter_context(device(agent.folder / "flood", numbers, FLOOD_HZ))
        echo_fd = stack.enter_context(echo(agent.folder / "echo"))
        agent.wait_for(lambda s: all(x["counts"].get("opened") for x in s["sources"]), 20, "both ports open")
        time.sleep(2.0)
        for k in range(int(seconds * ALARM_HZ)):
            due_s = time.monotonic() + 1 / ALARM_HZ
            alarms.append(_alarm(fd, k))
            echoes.append(_there_and_back(echo_fd, b"x" * 60 + b"\n")[0])
            time.sleep(max(0.0, due_s - time.monotonic()))
    return alarms, echoes


def _alarm(fd: int, k: int) -> float:
    """Sends a level that trips the rule or releases it; ms until the command came."""
    took_ms, heard = _there_and_back(fd, b'{"level":%d}\n' % (9 if k % 2 == 0 else 1))
    command = msgspec.json.decode(heard)
    answer = {"ack": command["id"], "set": command["set"], "value": command["value"]}
    os.write(fd, msgspec.json.encode(answer) + b"\n")
    return took_ms


def _there_and_back(fd: int, line: bytes) -> tuple[float, bytes]:
    sent_s = time.monotonic()
    os.write(fd, line)
    heard = b""
    while not heard.endswith(b"\n"):
        if not select.select([fd], [], [], 5.0)[0]:
            raise TimeoutError("no answer within 5 s")
        heard += os.read(fd, 4096)
    return (time.monotonic() - sent_s) * 1e3, heard


@contextmanager
def _agent(site: str) -> Iterator[RunningAgent]:
    """With a broker where there is one. Devices may come later: sources open a port as soon as it is there."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(Mosquitto(folder, "max_queued_messages 0", verbose=False)) if MOSQUITTO else None
        text = site_text(broker=broker.port if broker else None, ack="broker", more=site)
        yield stack.enter_context(RunningAgent(folder, text))


def motor_site() -> str:
    """The motor's fields with a window each, 19 rules, one of which acts about once a second."""
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

[[actuator]]
name = "press"
kind = "log"
path = "{{folder}}/actions"

[[rule]]
id = "pulse"
when = "pulse.vibration > 1.0"
for = "0s"
alert = false
actions = [{{ set = "press.relay", value = 1, else_value = 0 }}]
{windows}{rules}"""


def _model(hung_s: float) -> str:
    return f"""
[[model]]
name = "bearing"
package = "motor-anomaly/1.0.0"
input = [{", ".join(f'"motor.{name}"' for name in FIELDS)}]
deadline_ms = {int(hung_s * 1000) + 60_000}

[[rule]]
id = "bearing"
when = "bearing.score > 1e6 || motor.temp > 1e6"
"""


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
for = "0s"
alert = false
actions = [{ set = "valve.open", value = 1, else_value = 0 }]
"""
