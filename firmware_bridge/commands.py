"""Commands in flight: repeated until a final receipt, at most four, an end for each (PROTOCOL.md section 7). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import isfinite

from firmware_bridge.errors import CommandRefused
from firmware_bridge.events import CommandEnded, CommandPending, Outcome
from firmware_bridge.messages import Actuator, Command, Receipt, Status, Value, ValueType, fits

WINDOW = 4
_REPEAT_NS = 50_000_000
_PENDING_REPEAT_NS = 1_000_000_000

_OUTCOME = {
    Status.DONE: Outcome.DONE,
    Status.FAILED: Outcome.FAILED,
    Status.RANGE: Outcome.RANGE,
    Status.TYPE: Outcome.TYPE,
    Status.UNKNOWN: Outcome.NO_ACTUATOR,
    Status.EXPIRED: Outcome.EXPIRED,
    Status.STALE: Outcome.STALE,
    Status.SAFED: Outcome.SAFED,
}


def checked_value(actuator: Actuator, value: Value) -> Value:
    """`value` as it goes on the wire. Raises CommandRefused."""
    wanted = actuator.type.name.lower()
    if actuator.type is ValueType.F32 and type(value) is int:
        value = float(value)
    if not fits(value, actuator.type) or not isfinite(value):
        raise CommandRefused(f"{actuator.name}: {value!r} is not a {wanted}", f"give a {wanted}")
    if not actuator.min <= value <= actuator.max:
        limits = f"{actuator.min} to {actuator.max} {actuator.unit}"
        raise CommandRefused(f"{actuator.name}: {value} is out of range", f"allowed is {limits}")
    if actuator.type is ValueType.F32:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
        return rounded
    return value


@dataclass(slots=True)
class _InFlight:
    command: Command
    actuator: str
    give_up_ns: int
    send_ns: int
    pending: bool = False


class Commands:
    """The commands that have not ended. Ids ascend from 1 for the life of the session."""

    def __init__(self, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._flying: dict[int, _InFlight] = {}
        self._next_id = 1

    def add(
        self, boot: int, actuator: Actuator, value: Value, *, deadline_us: int, deadline_ns: int, now_ns: int
    ) -> Command:
        """A new command, to be sent now; `due` repeats it. Raises CommandRefused."""
        oldest = min(self._flying, default=self._next_id)
        if self._next_id >= oldest + WINDOW:
            raise CommandRefused(f"{actuator.name}: {WINDOW} commands wait for receipts", "wait for one to end")
        command = Command(boot, self._next_id, actuator.index, checked_value(actuator, value), deadline_us)
        # A second after the deadline nothing can start any more, but what happened can still be learned.
        give_up_ns = deadline_ns + 1_000_000_000
        self._flying[command.id] = _InFlight(command, actuator.name, give_up_ns, now_ns + _REPEAT_NS)
        self._next_id += 1
        return command

    def on_receipt(self, receipt: Receipt, now_ns: int) -> CommandPending | CommandEnded | None:
        """The event of a receipt; None when it repeats what is known."""
        flying = self._flying.get(receipt.id)
        if flying is None:
            return None
        if receipt.status is Status.PENDING:
            if flying.pending:
                return None
            flying.pending = True
            flying.give_up_ns = now_ns + self._settle_ns
            flying.send_ns = now_ns + _PENDING_REPEAT_NS
            return CommandPending(receipt.id, flying.actuator)
        del self._flying[receipt.id]
        return CommandEnded(receipt.id, flying.actuator, _OUTCOME[receipt.status], receipt.value, receipt.time_us)

    def due(self, now_ns: int) -> tuple[list[Command], list[CommandEnded]]:
        """(to send now, given up now)."""
        given_up = [f for f in self._flying.values() if now_ns >= f.give_up_ns]
        ended = [CommandEnded(f.command.id, f.actuator, Outcome.UNKNOWN) for f in given_up]
        for flying in given_up:
            del self._flying[flying.command.id]
        sending = [f for f in self._flying.values() if now_ns >= f.send_ns]
        for flying in sending:
            flying.send_ns = now_ns + (_PENDING_REPEAT_NS if flying.pending else _REPEAT_NS)
        return [f.command for f in sending], ended

    def deadline_ns(self) -> int | None:
        """When `due` has something to say next."""
        return min((min(f.send_ns, f.give_up_ns) for f in self._flying.values()), default=None)

    def device_reset(self) -> list[CommandEnded]:
        """Ends all: the device that could answer is gone."""
        ended = [CommandEnded(f.command.id, f.actuator, Outcome.DEVICE_RESET) for f in self._flying.values()]
        self._flying.clear()
        return ended
