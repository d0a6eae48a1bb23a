"""A source that floods at 50,000 readings a second sheds its own, declared; a neighbour's alarm is in time."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from pathlib import Path

import msgspec
import pytest
from demo_backend import DemoBackend

from edge_agent.metrics import percentile
from tests.doubles.mosquitto import Mosquitto
from tests.e2e.harness import RunningAgent, site_text, wait_until

SITE = """
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
for = "0s"
actions = [{ set = "valve.open", value = 1, else_value = 0 }]
"""
SECONDS, FLOOD_HZ, ALARM_HZ = 8.0, 50_000, 10


class Terminal:
    """The device's end of a pseudo-terminal."""

    def __init__(self, link: Path) -> None:
        self.fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        link.symlink_to(os.ttyname(self._slave))

    def close(self) -> None:
        for fd in (self.fd, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)


class Flood(threading.Thread):
    """Writes numbered readings at its rate, as far as the line takes them; `written` is what it took."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(daemon=True)
        self.written = 0
        self._fd = terminal.fd

    def run(self) -> None:
        began = time.monotonic()
        per_turn = FLOOD_HZ // 100
        while (now := time.monotonic() - began) < SECONDS:
            if self.written >= now * FLOOD_HZ:
                time.sleep(0.001)
                continue
            lines = b"".join(b'{"x":%d.5}\n' % (self.written + i) for i in range(per_turn))
            while lines:
                lines = lines[os.write(self._fd, lines) :]
            self.written += per_turn


class Alarm(threading.Thread):
    """Sends a level that trips the rule or releases it, and times the command that follows."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(daemon=True)
        self.latencies_ms: list[float] = []
        self.sent = 0
        self._fd = terminal.fd
        self._heard = b""

    def run(self) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            level = 9 if self.sent % 2 == 0 else 1
            sent_s = time.monotonic()
            os.write(self._fd, b'{"level":%d}\n' % level)
            self.sent += 1
            command = self._command(2.0)
            if command is not None:
                self.latencies_ms.append((time.monotonic() - sent_s) * 1e3)
                answer = {"ack": command["id"], "set": command["set"], "value": command["value"]}
                os.write(self._fd, msgspec.json.encode(answer) + b"\n")
            time.sleep(max(0.0, sent_s + 1 / ALARM_HZ - time.monotonic()))

    def _command(self, timeout_s: float) -> dict[str, object] | None:
        end = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            if not select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            self._heard += os.read(self._fd, 4096)
        line, _, self._heard = self._heard.partition(b"\n")
        command: dict[str, object] = msgspec.json.decode(line)
        return command


@pytest.mark.slow
def test_alarm_beside_a_flood_is_in_time_and_the_floods_losses_are_declared_gaps(tmp_path: Path) -> None:
    terminals = {name: Terminal(tmp_path / name) for name in ("flood", "alarm")}
    with Mosquitto(tmp_path, "max_queued_messages 0") as broker:
        backend = DemoBackend(broker.port)
        backend.start()
        with RunningAgent(tmp_path, site_text(broker=broker.port, more=SITE)) as agent:
            agent.wait_for(lambda s: s["uplink"]["connected"], 20, "connected")
            agent.wait_for(lambda s: all(x["counts"].get("opened") for x in s["sources"]), 20, "both ports open")
            flood, alarm = Flood(terminals["flood"]), Alarm(terminals["alarm"])
            flood.start()
            alarm.start()
            flood.join()
            alarm.join()
            shed = agent.status()["engine"]["shed"]["flood"]
            wait_until(lambda: backend.verdict().gaps >= shed, 10, "the gaps")
            assert agent.stop() == 0
        verdict = backend.verdict()
        gaps = verdict.gaps
        wait_until(lambda: backend.received("flood") + backend.verdict().gaps >= flood.written, 10, "everything")
        backend.stop()
    for terminal in terminals.values():
        terminal.close()
    assert flood.written >= 0.3 * SECONDS * FLOOD_HZ, "this machine could not even write the flood"
    assert backend.received("flood") + backend.verdict().gaps == flood.written
    assert shed > 0.5 * flood.written
    assert backend.received("alarm") == alarm.sent
    assert gaps > 0
    assert len(alarm.latencies_ms) == alarm.sent, "an alarm had no answer"
    # a bound that a shared machine keeps, on which this process makes the flood; `scripts/bench latency` measures it
    assert percentile(alarm.latencies_ms, 0.5) < 50, sorted(alarm.latencies_ms)[-10:]
    p50, p99 = (percentile(alarm.latencies_ms, share) for share in (0.5, 0.99))
    print(f"alarm to command at the device: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {shed} of {flood.written} shed")
