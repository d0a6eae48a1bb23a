"""A microcontroller that speaks the firmware bridge: plugged in, its streams appear by name and unit.

    [[source]]
    name = "press"
    kind = "serial_bridge"
    device = "/dev/serial/by-id/usb-ACME_Press_0042-if00-port0"

Each sample is one reading with one field, named as the device's stream; its unit goes with the telemetry. A field
that a rule, signal or model uses is declared in `[source.fields]`, and where the device says something else of it
(another unit or type, or no such stream) its values are of bad quality and the alert `health/press.temp` is raised.

The device keeps its samples until they are committed here. What it lost it declares: `device` (its ring was full),
`device_reset` (it started anew), `device_reset_open` (it started anew and nobody knows how many were lost).

Notes and counts say what the device reports: reset cause, headroom, brown-outs, damaged frames both ways, its log.
When it has gone to its safe state because this host was silent, the alert `health/press.safe_state` is raised, and
cleared when a command has been carried out since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.bridge import BridgePort, BridgeSettings
from edge_agent.links.serial import Baud
from edge_agent.ports import Context, Item
from edge_agent.sources.bridge_fields import BridgeFields, fields_of
from edge_agent.sources.bridge_readings import readings_of
from edge_agent.types import HealthChange, Lost, Stamp
from firmware_bridge import events as bridge
from firmware_bridge.messages import Health

_HELLO_S = 10.0
_LOSSES = {
    bridge.GapReason.OVERWRITTEN: "device",
    bridge.GapReason.DEVICE_RESET: "device_reset",
    bridge.GapReason.RATE_LIMIT: "overload",
}
_RESET_CAUSES = ("unknown", "power", "pin", "watchdog", "software", "brown-out", "fault")
_FIGURES = (
    "stack_free", "heap_free", "brownouts", "crc_errors", "bad_frames", "oversize", "overwritten", "log_dropped",
)  # fmt: skip


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `serial_bridge` source."""

    device: str
    """The port; a stable name such as `/dev/serial/by-id/…` survives renumbering."""
    baud: Baud = 921_600
    """Bits per second."""
    device_id: str = ""
    """The device that must answer, as its hello says; empty: whichever does."""


def open(config: Config, context: Context) -> SerialBridge:  # noqa: A001 - the seam's name
    """Opens the port and says hello. Raises Retryable, or Rejected when another source has the port."""
    settings = BridgeSettings(config.device, config.baud, config.device_id)
    port = context.links.bridge(config.device).attach(settings, context.cursor)
    return SerialBridge(config, context, port)


class SerialBridge:
    """ports.Source and ports.Acknowledged over one connection."""

    def __init__(self, config: Config, context: Context, port: BridgePort) -> None:
        self._config = config
        self._context = context
        self._counters = context.counters
        self._port = port
        self._fields: BridgeFields | None = None
        self._abandoned = False
        self._last_ns = 0
        self._failure: Retryable | Rejected | None = None
        self._hello_due_s = monotonic() + _HELLO_S
        self._handlers: dict[type[Any], Callable[[Any, list[Item]], None]] = {
            bridge.Ready: self._ready, bridge.Batch: self._batch, bridge.Gap: self._gap,
            bridge.Restarted: self._restarted, bridge.SafeState: self._safe_state, bridge.LogLine: self._log_line,
            bridge.HealthReport: self._health, bridge.Silent: self._silent, bridge.Incompatible: self._incompatible,
            bridge.WrongDevice: self._wrong_device, bridge.ClockJumped: self._clock_jumped,
            bridge.LineQuality: self._line_quality, bridge.CommandEnded: self._command_ended,
        }  # fmt: skip

    def read(self, timeout_s: float) -> Sequence[Item]:
        if self._failure is not None:
            raise self._failure
        items: list[Item] = []
        for event in self._port.step(timeout_s):
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event, items)
        if self._fields is None and monotonic() >= self._hello_due_s:
            self._failure = Retryable(
                f"{self._config.device}: no answer to hello within {_HELLO_S:g} s",
                hint="is the firmware running, and the baud rate right? see edge-agent ports scan",
            )
        if self._failure is not None and not items:
            raise self._failure
        return items

    def ack(self, cursor: int) -> None:
        self._port.commit(cursor)

    def close(self) -> None:
        self._port.close()

    # -- what the device is ----------------------------------------------------------------------------------------

    def _ready(self, event: bridge.Ready, items: list[Item]) -> None:
        device = event.device
        fields = fields_of(device, self._context.fields)
        before, self._fields = self._fields, fields
        self._counters.note("device", device.id)
        self._counters.note("firmware", device.firmware)
        self._counters.note("streams", ", ".join(f"{n} [{s.unit}]" if s.unit else n for n, s in fields.specs.items()))
        if before != fields:
            self._context.announce(fields.specs)
            for reason in fields.refused:
                self._counters.quarantine("refused_stream", reason.encode())
        stamp = self._now()
        items.append(Lost(self._context.name, 0, "device", stamp, self._port.give(event.cursor)))
        for name in self._context.fields:
            reason = fields.disputed.get(name, "")
            if reason:
                self._counters.quarantine("disputed_field", f"{name}: {reason}".encode())
            items.append(self._part(name, not reason, reason, stamp))

    def _restarted(self, event: bridge.Restarted, items: list[Item]) -> None:  # noqa: ARG002
        self._counters.count("device_restarts")
        if event.rolled_back:
            self._counters.count("boot_id_repeated")
        # rules must see it: what they had set is no longer in force
        self._failure = Retryable(f"{self._config.device}: the device started anew", hint="see its reset_cause")

    def _wrong_device(self, event: bridge.WrongDevice, items: list[Item]) -> None:
        self._counters.quarantine("wrong_device", event.found.encode())
        wanted = self._config.device_id
        if wanted:
            hint = "plug in the right board, or change device_id"
            self._failure = Rejected(f"{self._config.device}: {event.found} answers, not {wanted}", hint=hint)
            return
        # what the other board still held is out of reach
        items.append(Lost(self._context.name, 1, "device_reset_open", self._now()))
        self._port.start_afresh()
        self._failure = Retryable(f"{self._config.device}: {event.found} took the place of {event.expected}")

    def _incompatible(self, event: bridge.Incompatible, items: list[Item]) -> None:  # noqa: ARG002
        self._failure = Rejected(
            f"{self._config.device}: the device speaks version {event.version} of the bridge protocol only",
            hint="update the firmware or the agent",
        )

    # -- samples ---------------------------------------------------------------------------------------------------

    def _batch(self, batch: bridge.Batch, items: list[Item]) -> None:
        if self._fields is not None:
            self._port.give(batch.cursor)
            readings = readings_of(batch, self._fields, self._context.name, self._now(), self._last_ns)
            self._last_ns = readings[-1].stamp.mono_ns
            items += readings
            if any(batch.quality):
                self._counters.count("bad_samples", sum(map(bool, batch.quality)))

    def _gap(self, gap: bridge.Gap, items: list[Item]) -> None:
        reason, count, end = _LOSSES[gap.reason], 1, "nobody knows where"
        if gap.end is None:
            reason += "_open"
        else:
            count, end = (gap.end - gap.first) & 0xFFFF_FFFF, str(gap.end - 1)
        self._counters.count(f"lost_{reason}", count)
        self._counters.note("last_gap", f"{reason}: boot {gap.boot}, samples {gap.first} to {end}")
        items.append(Lost(self._context.name, count, reason, self._now(), self._port.give(gap.cursor)))

    # -- how the device is -----------------------------------------------------------------------------------------

    def _safe_state(self, event: bridge.SafeState, items: list[Item]) -> None:
        self._counters.note("safe_state", event.cause if event.active else "no")
        self._counters.note("safe_entries", event.entries)
        abandoned = event.active and event.cause != "boot"
        reason = f"the device went to its safe state, cause {event.cause}"
        if event.cause == "silence":
            reason += f", after {event.silent_us / 1e6:.2f} s without this host"
        if event.unplaced:
            reason += f"; not in place: {', '.join(event.unplaced)}"
        self._abandoned = abandoned or bool(event.unplaced)
        items.append(self._part("safe_state", not self._abandoned, reason, self._now()))

    def _command_ended(self, event: bridge.CommandEnded, items: list[Item]) -> None:
        """The first command that is carried out ends the safe state; the device does not say so again."""
        if event.outcome is not bridge.Outcome.DONE:
            return
        self._counters.note("safe_state", "no")
        if self._abandoned:
            self._abandoned = False
            items.append(self._part("safe_state", True, "", self._now()))

    def _log_line(self, event: bridge.LogLine, items: list[Item]) -> None:  # noqa: ARG002
        self._counters.count(f"log_{event.level}")
        self._counters.note("log", f"{event.level}: {event.text}")

    def _health(self, event: bridge.HealthReport, items: list[Item]) -> None:  # noqa: ARG002
        for name in _FIGURES:
            value = getattr(event.health, name)
            if value is not None:
                self._counters.note(f"device_{name}", value)
        self._counters.note("reset_cause", _reset_cause(event.health))
        session = self._port.session
        self._counters.note("damaged_frames", session.frames.damaged)
        self._counters.note("bad_messages", session.counters.bad_messages)

    def _silent(self, event: bridge.Silent, items: list[Item]) -> None:  # noqa: ARG002
        self._failure = Retryable(
            f"{self._config.device}: the device is silent", hint="has it power? is its firmware running?"
        )

    def _clock_jumped(self, event: bridge.ClockJumped, items: list[Item]) -> None:  # noqa: ARG002
        self._counters.count("clock_jumps")

    def _line_quality(self, event: bridge.LineQuality, items: list[Item]) -> None:  # noqa: ARG002
        self._counters.note("noisy", event.noisy)

    def _part(self, part: str, up: bool, reason: str, stamp: Stamp) -> HealthChange:
        return HealthChange(f"{self._context.name}.{part}", up, stamp, "" if up else reason, alert=not up)

    def _now(self) -> Stamp:
        return self._context.clock.now()


def _reset_cause(health: Health) -> str:
    cause = health.reset_cause or 0
    return _RESET_CAUSES[cause] if cause < len(_RESET_CAUSES) else f"cause {cause}"
