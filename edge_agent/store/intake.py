"""The way from the engine's thread to the store's: never waits, bounded, and what it sheds is itself declared."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition

import msgspec

from edge_agent.contract.rows import ALERT_STREAM, DECISION_STREAM, infer_stream
from edge_agent.store.gaps import GapSet
from edge_agent.store.writer import TimeFix
from edge_agent.types import Alert, Decision, Effect, Gap, Record, RecordPrediction

Kept = Record | RecordPrediction | Decision | Alert | Gap | TimeFix
"""What the store keeps; of an engine's effects, all but `Act` and `Infer`."""

_KEPT = frozenset({Record, RecordPrediction, Decision, Alert, Gap, TimeFix})
_URGENT = frozenset({Decision, Alert, TimeFix})
_DECISIONS_BEYOND = 2
"""Decisions and alerts still fit when twice the limit waits."""
_WAKE = 2048
"""Effects that wake the store before its time, so that a flood is encoded in small pieces."""


class Batch(msgspec.Struct):
    """What was put since the last one."""

    effects: list[Kept]
    shed: GapSet
    ticket: int
    """Everything up to this ticket is in this batch or an earlier one."""
    urgent: bool
    asked: bool
    """Somebody waits for a commit."""
    stopping: bool


class Intake:
    """One thread takes, any may put."""

    def __init__(self, epoch: str, *, limit: int) -> None:
        self._epoch = epoch
        self._limit = limit
        self._changed = Condition()
        self._effects: list[Kept] = []
        self._shed = GapSet()
        self._tickets = 0
        self._done = 0
        self._urgent = False
        self._asked = False
        self._stopping = False
        self.shed_total = 0

    def put(self, effects: Sequence[Effect | TimeFix]) -> int:
        """Returns the ticket of what was put. Never waits."""
        with self._changed:
            self._tickets += 1
            held = len(self._effects)
            if held + len(effects) > self._limit:
                self._put_some(effects)
            else:
                for effect in effects:
                    kind = type(effect)
                    if kind in _KEPT:
                        self._effects.append(effect)  # type: ignore[arg-type]
                        self._urgent = self._urgent or kind in _URGENT
            if self._urgent or held < _WAKE <= len(self._effects):
                self._changed.notify_all()
            return self._tickets

    def take(self, timeout_s: float) -> Batch:
        """Waits until something is urgent, much has gathered, somebody asks, or the time is over."""
        with self._changed:
            if not self._called():
                self._changed.wait(timeout_s)
            batch = Batch(
                self._effects, self._shed, self._tickets, self._urgent, self._asked, self._stopping
            )
            self._effects, self._shed, self._urgent, self._asked = [], GapSet(), False, False
            self._changed.notify_all()
            return batch

    def done(self, ticket: int) -> None:
        """Everything up to this ticket is committed."""
        with self._changed:
            self._done = max(self._done, ticket)
            self._changed.notify_all()

    def wait_done(self, timeout_s: float) -> bool:
        """Asks for a commit of all that was put so far, and waits for it."""
        with self._changed:
            self._tickets += 1
            ticket = self._tickets
            self._asked = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= ticket, timeout_s)

    def wait_room(self, timeout_s: float) -> bool:
        """Waits until half of the limit is free: for an engine that may be held back, as in a replay."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._effects) <= self._limit // 2, timeout_s)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """How many effects wait to be taken."""
        return len(self._effects)

    def _called(self) -> bool:
        waited_for = self._urgent or self._stopping or self._asked
        return waited_for or len(self._effects) >= _WAKE or bool(self._shed)

    def _put_some(self, effects: Sequence[Effect | TimeFix]) -> None:
        for effect in effects:
            urgent = type(effect) in _URGENT
            room = type(effect) is TimeFix or len(self._effects) < self._limit * (_DECISIONS_BEYOND if urgent else 1)
            if room:
                if type(effect) in _KEPT:
                    self._effects.append(effect)  # type: ignore[arg-type]
                    self._urgent = self._urgent or urgent
            else:
                self._shed_one(effect)

    def _shed_one(self, effect: Effect | TimeFix) -> None:
        """A gap costs nothing to keep; of anything else only the number is kept."""
        match effect:
            case Gap():
                self._shed.take(effect)
            case Record() | RecordPrediction() | Decision() | Alert():
                stream, seq = number_of(effect)
                self._shed.add(stream, self._epoch, seq, seq, "overload")
                self.shed_total += 1


def number_of(effect: Record | RecordPrediction | Decision | Alert) -> tuple[str, int]:
    """The stream and the number in it."""
    match effect:
        case Record():
            return effect.reading.stream, effect.seq
        case RecordPrediction():
            return infer_stream(effect.prediction.lane), effect.seq
        case Decision():
            return DECISION_STREAM, effect.seq
        case Alert():
            return ALERT_STREAM, effect.seq
