"""The engine: a deterministic state machine from events to effects. No thread, no clock, no I/O.

The same events give the same effects, byte for byte. `now` is the newest stamp seen; whoever runs the engine
hands it a Tick at each `next_deadline` before any later event. Staleness, absence, windows that slide without
new readings and the timers of rules are deadlines. Numbers (seq) are given here, at acceptance: what is lost
later is a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.alerts import NEVER
from edge_agent.decisions import NOTHING, Decider, Hold, Remembered
from edge_agent.lane_state import LaneState, rung_of
from edge_agent.model_input import ModelInput
from edge_agent.plan import FieldPlan, Plan
from edge_agent.rules.values import UNKNOWN, admit
from edge_agent.signal_table import SignalTable
from edge_agent.types import (
    Alert,
    Command,
    Effect,
    Event,
    Gap,
    HealthChange,
    Infer,
    LaneChange,
    Lost,
    Prediction,
    Quality,
    Reading,
    Receipt,
    Record,
    RecordPrediction,
    Stamp,
    Tick,
    Value,
)  # fmt: skip


class _Field:
    """A field's last sample."""

    __slots__ = ("expiring", "last_ns", "plan")

    def __init__(self, plan: FieldPlan) -> None:
        self.plan = plan
        self.last_ns = -1
        self.expiring = False


class _Input:
    """A lane's window over one stream."""

    __slots__ = ("fields", "lane", "number", "window")

    def __init__(self, lane: str, fields: tuple[str, ...], window: ModelInput) -> None:
        self.lane = lane
        self.fields = fields
        self.window = window
        self.number = 0


class _Stream:
    """The numbering of a stream, and what looks at it."""

    __slots__ = ("fields", "inputs", "next_seq")

    def __init__(self) -> None:
        self.next_seq = 0
        self.fields: dict[str, _Field] = {}
        self.inputs: list[_Input] = []


class Engine:
    """State of one run. `epoch` names the numbering; it enters effects and nothing else. `before`: what the run
    before it left raised."""

    def __init__(self, plan: Plan, *, epoch: str, before: Remembered = NOTHING) -> None:
        self.epoch = epoch
        self.rung = "full"
        self._plan = plan
        self._now = Stamp(0, 0)
        self._out: list[Effect] = []
        self._signals = SignalTable(plan.size, plan.windows)
        self.values = self._signals.values
        self._streams: dict[str, _Stream] = {}
        self._lanes = {lane.spec.name: LaneState(lane) for lane in plan.lanes}
        self._decider = Decider(plan, self.values, epoch, before)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Reading: self._reading, Prediction: self._prediction, HealthChange: self._health, LaneChange: self._lane,
            Lost: self._lost, Receipt: self._receipt, Tick: self._tick, Command: self._command,
        }  # fmt: skip
        self._started = False
        self._due_ns = NEVER
        self._build()

    # -- the two calls ---------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Effect]:
        """What follows from `event`. Never raises for what an event says."""
        if event.stamp.mono_ns >= self._now.mono_ns:
            self._now = event.stamp
            self._signals.now_ns = event.stamp.mono_ns
        out: list[Effect] = []
        self._out = out
        if not self._started:
            self._start()
        self._handlers[type(event)](event)
        if self._signals.dirty:
            self._decide()
        first_ns = self._signals.due_ns()
        rules_ns = self._decider.due_ns
        self._due_ns = first_ns if first_ns < rules_ns else rules_ns
        return out

    def next_deadline(self) -> int:
        """The monotonic time at which a Tick is due; NEVER where there is none."""
        return self._due_ns

    # -- building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        for field in self._plan.fields:
            self._stream(field.stream).fields[field.name] = _Field(field)
        for lane in self._plan.lanes:
            if lane.fields:
                spec = lane.spec
                rows = ModelInput(channels=len(lane.fields), length=spec.length, stride=spec.stride)
                self._stream(lane.stream).inputs.append(_Input(spec.name, lane.fields, rows))

    def _start(self) -> None:
        """At the first event: absence is counted from here, and rules see what is known at rest."""
        self._started = True
        self._signals.start()
        for lane in self._lanes.values():
            self._signals.set(lane.plan.trust, lane.trust)
            self._signals.set(lane.plan.trusted, False)
        self.rung = rung_of(self._lanes.values())
        self._signals.set(self._plan.rung, self.rung)
        self._out.extend(self._decider.restore(self._now, self.rung))

    def _stream(self, name: str) -> _Stream:
        return self._streams.setdefault(name, _Stream())

    # -- events ----------------------------------------------------------------------------------------------------

    def _reading(self, reading: Reading) -> None:
        stream = self._streams.get(reading.stream)
        if stream is None:
            stream = self._stream(reading.stream)
        seq = stream.next_seq
        stream.next_seq = seq + 1
        bad: dict[str, Quality] | None = None
        quality = reading.quality
        mono_ns = reading.stamp.mono_ns
        fields = stream.fields
        for name, value in reading.values.items():
            field = fields.get(name)
            if field is None:
                continue
            known = UNKNOWN if quality is not None and quality.get(name) else _accepted(field.plan, value)
            if known is UNKNOWN and value is not None and (quality is None or name not in quality):
                bad = {**(bad or {}), name: Quality.BAD}
            self._field(field, mono_ns, known)
        if bad:
            reading = _marked(reading, bad)
        self._out.append(Record(seq, reading))
        for rows in stream.inputs:
            self._row(rows, stream, seq, reading)

    def _field(self, field: _Field, mono_ns: int, value: Any) -> None:
        """What was stale when it came, a device's backlog, decides nothing; windows have it."""
        slot = field.plan.slot
        if mono_ns >= field.last_ns and mono_ns + field.plan.stale_ns > self._signals.now_ns:
            field.last_ns = mono_ns
            if value is UNKNOWN:
                self._signals.miss(slot, mono_ns)
            else:
                self._signals.sample(slot, mono_ns, value)
                if not field.expiring:
                    field.expiring = True
                    self._signals.wake_at(mono_ns + field.plan.stale_ns, self._expire_field, field)
        elif value is not UNKNOWN:
            self._signals.late(slot, mono_ns, value)

    def _expire_field(self, field: _Field) -> None:
        due_ns = field.last_ns + field.plan.stale_ns
        field.expiring = due_ns > self._now.mono_ns
        if field.expiring:
            self._signals.wake_at(due_ns, self._expire_field, field)
        else:
            self._signals.set(field.plan.slot, UNKNOWN)

    def _row(self, rows: _Input, stream: _Stream, seq: int, reading: Reading) -> None:
        good = [_good(reading, name, stream.fields[name].plan) for name in rows.fields]
        if rows.window.push(reading.stamp.mono_ns, seq, good):
            refs = (rows.window.refs(reading.stream, self.epoch),)
            shape = rows.window.shape
            self._out.append(Infer(rows.lane, rows.number, reading.stamp, rows.window.window(), shape, refs))
            rows.number += 1

    def _prediction(self, prediction: Prediction) -> None:
        lane = self._lanes[prediction.lane]
        stream = self._stream(f"infer-{prediction.lane}")
        seq = stream.next_seq
        stream.next_seq = seq + 1
        lane.take(prediction, self._now.mono_ns)
        self._out.append(RecordPrediction(seq, prediction, lane.trust))
        if prediction.answered:
            self._outputs(lane, prediction)
        if prediction.valid and not lane.expiring:
            lane.expiring = True
            self._signals.wake_at(lane.stale_at(), self._expire_lane, lane)
        self._show_trust(lane, prediction.error)

    def _outputs(self, lane: LaneState, prediction: Prediction) -> None:
        mono_ns = prediction.input_stamp.mono_ns
        was_stale = mono_ns + lane.plan.spec.stale_ns <= self._now.mono_ns
        for name, slot in lane.plan.outputs.items():
            value = lane.admitted(name, prediction) if prediction.valid else UNKNOWN
            if value is UNKNOWN:
                self._signals.miss(slot, mono_ns)
            elif was_stale:
                self._signals.late(slot, mono_ns, value)
            else:
                self._signals.sample(slot, mono_ns, value)

    def _expire_lane(self, lane: LaneState) -> None:
        due_ns = lane.stale_at()
        lane.expiring = due_ns > self._now.mono_ns
        if lane.expiring:
            self._signals.wake_at(due_ns, self._expire_lane, lane)
            return
        lane.fresh = False
        for slot in lane.plan.outputs.values():
            self._signals.set(slot, UNKNOWN)
        self._show_trust(lane, "no fresh prediction")

    def _lane(self, change: LaneChange) -> None:
        lane = self._lanes[change.lane]
        lane.change(change.trust)
        if lane.withdrawn:
            for slot in lane.plan.outputs.values():
                self._signals.set(slot, UNKNOWN)
        self._show_trust(lane, change.reason)

    def _show_trust(self, lane: LaneState, reason: str) -> None:
        self._signals.set(lane.plan.trust, lane.trust)
        self._signals.set(lane.plan.trusted, lane.trust == "trusted")
        self._out.extend(self._decider.lane_alert(lane, reason, self._now))
        rung = rung_of(self._lanes.values())
        if rung == self.rung:
            return
        self.rung = rung
        self._signals.set(self._plan.rung, rung)
        text = f"rung {rung}: {lane.plan.spec.name} is {lane.trust}" + (f": {reason}" if reason else "")
        self._out.extend(self._decider.rung_alert(rung, text, self._now))

    def _health(self, change: HealthChange) -> None:
        slot = self._plan.health.get(change.part)
        if slot is not None:
            self._signals.set(slot, change.up)
        if change.alert or change.up:
            self._out.extend(self._decider.health_alert(change, self._now))

    def _lost(self, lost: Lost) -> None:
        stream = self._stream(lost.stream)
        first = stream.next_seq
        stream.next_seq = first + lost.count
        last = stream.next_seq - 1
        self._out.append(Gap(lost.stream, self.epoch, first, last, lost.reason, self._now, lost.cursor))

    def _receipt(self, receipt: Receipt) -> None:
        self._out.extend(self._decider.receipt(receipt, self._now, self.rung))

    def _command(self, command: Command) -> None:
        self._out.extend(self._decider.command(command, self._now, self.rung, self._lanes))

    def _tick(self, tick: Tick) -> None:  # noqa: ARG002 - it is its stamp, which is taken already
        now_ns = self._now.mono_ns
        self._signals.run_due()
        if self._decider.due_ns <= now_ns:
            self._decide()

    def _decide(self) -> None:
        dirty, self._signals.dirty = self._signals.dirty, set()
        self._out.extend(self._decider.step(dirty, self._now, self.rung, self._lanes))

    def raised(self) -> list[Alert]:
        """Alerts that are raised and not cleared, oldest first."""
        return self._decider.alerts.raised()

    def acked(self) -> dict[str, str]:
        """By the id of a raised alert: who has acknowledged it."""
        return self._decider.alerts.acked()

    def holds(self) -> dict[str, Hold]:
        """By rule: the holds of people that are in force."""
        return self._decider.holds()

    def remember(self) -> Remembered:
        """What the next run should know. From any thread."""
        return self._decider.remember()

    def phases(self) -> dict[str, str]:
        """Where each rule stands."""
        return self._decider.phases()

    def lanes(self) -> dict[str, LaneState]:
        """For status: trust and freshness of each lane."""
        return self._lanes


def _accepted(plan: FieldPlan, value: Value | None) -> Any:
    """The value as rules see it, or UNKNOWN: of another type, not finite, or outside the declared range."""
    kind = type(value)
    if plan.type == "double" and (kind is float or kind is int):
        # adding 0.0 turns -0.0 into 0.0; the comparison is false for NaN and, by the range, for infinities
        return value + 0.0 if plan.least <= value <= plan.most else UNKNOWN  # type: ignore[operator]
    admitted = admit(value, plan.slot_type)
    if plan.type == "int" and admitted is not UNKNOWN and not plan.least <= admitted <= plan.most:  # type: ignore[operator]
        return UNKNOWN
    return admitted


def _good(reading: Reading, name: str, plan: FieldPlan) -> float | None:
    if reading.quality is not None and reading.quality.get(name):
        return None
    known = _accepted(plan, reading.values.get(name))
    return None if known is UNKNOWN else float(known)


def _marked(reading: Reading, bad: dict[str, Quality]) -> Reading:
    quality = {**(reading.quality or {}), **bad}
    return Reading(reading.stream, reading.stamp, reading.values, quality, reading.cursor)
