"""A port with a firmware bridge device behind it: the source that reads it owns it, actuators send through it.

The session outlives every loss of the port: a device that comes back goes on where it was. Nobody but the source
opens the port, since a device that is commanded must also be listened to and told that its host lives.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from threading import Condition
from time import monotonic

import msgspec

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.bridge_cursor import CursorsGiven, unpack
from edge_agent.links.serial import Baud
from firmware_bridge.commands import checked_value
from firmware_bridge.errors import CommandRefused
from firmware_bridge.events import Batch, CommandEnded, Cursor, Event
from firmware_bridge.link import Link
from firmware_bridge.messages import Actuator, Value, ValueType
from firmware_bridge.session import Session, State

_FLYING = 16
"""Actions whose command may still end, kept for whoever asks again."""


class BridgeSettings(msgspec.Struct, frozen=True):
    """How a device is opened, and which one it must be; any where `device_id` is empty."""

    device: str
    baud: Baud = 921_600
    device_id: str = ""


class BridgeLink:
    """The one owner of a device, across its connections. Any thread."""

    def __init__(self, *, draw_id: Callable[[], int] = lambda: secrets.randbits(32) or 1) -> None:
        self._draw_id = draw_id
        self._session: Session | None = None
        self._link: Link | None = None
        self._given = CursorsGiven()
        self._changed = Condition()
        self._ended: dict[int, CommandEnded | None] = {}
        self._flying: dict[int, int] = {}
        self._listening = False
        self._lent = ""
        self._values: dict[int, Value | None] = {}

    def attach(self, settings: BridgeSettings, cursor: int | None) -> BridgePort:
        """Opens the port for the one source that reads it. `cursor` counts only for the first session.

        Raises Retryable when the port cannot be had, Rejected when another source has it.
        """
        with self._changed:
            if self._lent:
                raise Retryable(f"{settings.device}: {self._lent}")
            if self._link is not None:
                raise Rejected(f"{settings.device} already has a source", hint="one source for each device")
            if self._session is None:
                place = None if cursor is None else unpack(cursor)
                self._session = self._new_session(settings.device_id, place)
            link = Link(settings.device, settings.baud, self._session)
            link.step(0.0)
            if not link.connected:
                link.release()
                raise _down(settings, link)
            self._link = link
        return BridgePort(self, settings, link)

    def detach(self) -> None:
        with self._changed:
            link, self._link = self._link, None
            if link is not None:
                link.release()

    def lend(self, why: str) -> None:
        """Closes the port and keeps it closed, for this reason; empty: it may be opened again."""
        with self._changed:
            self._lent = why
            if why and self._link is not None:
                self._link.close()

    @property
    def lent(self) -> str:
        """Why the port is closed to its source; empty while it is the source's."""
        return self._lent

    def values(self) -> dict[str, tuple[Value | None, str]]:
        """The newest value of each of the device's streams, with its unit; empty while none is known."""
        session = self._session
        device = session.device if session else None
        streams = device.streams if device else ()
        newest = dict(self._values)
        return {s.name: (newest[i], s.unit) for i, s in enumerate(streams) if s and i in newest}

    def start_afresh(self) -> None:
        """Another device is plugged in: what was agreed with the one before means nothing to it."""
        self.detach()
        with self._changed:
            self._session = None
            self._given = CursorsGiven()
            self._flying.clear()
            self._ended.clear()
            self._values.clear()

    def give(self, cursor: Cursor) -> int:
        """The number that stands for it in the store."""
        return self._given.give(cursor)

    def commit(self, number: int) -> None:
        """Everything up to this cursor is on disk: the device may forget it."""
        with self._changed:
            place = self._given.committed(number)
            if place is None or self._session is None:
                return
            if self._link is not None:
                self._link.commit(place)
            else:
                self._session.commit(place)

    def heard(self, events: Sequence[Event]) -> None:
        """After each step: wakes who waits to command, and who waits for a command's end."""
        for event in events:
            if isinstance(event, Batch):
                self._values.update(zip(event.streams, event.values, strict=True))
        ends = [event for event in events if isinstance(event, CommandEnded)]
        listening = self._is_listening()
        if not ends and listening == self._listening:
            return
        with self._changed:
            self._listening = listening
            for end in ends:
                if end.id in self._ended:
                    self._ended[end.id] = end
            self._changed.notify_all()

    def _is_listening(self) -> bool:
        """Whether a command can be sent: the device has said hello, and a deadline can be put on its clock."""
        session = self._session
        return session is not None and session.state is State.LIVE and session.clock.synced

    def command(self, action_id: int, target: str, value: Value | str, timeout_s: float) -> CommandEnded | None:
        """Sends a command and waits for its end; None when it has not ended in time. Asked again for the same
        action, it goes on waiting for the same command. Raises Rejected, or Retryable while no device answers."""
        end_s = monotonic() + timeout_s
        with self._changed:
            number = self._flying.get(action_id)
            if number is None:
                self._changed.wait_for(self._is_listening, timeout_s)
                number = self._send(action_id, target, value, max(end_s - monotonic(), 0.0))
            while self._ended.get(number) is None:
                left_s = end_s - monotonic()
                if left_s <= 0 or number not in self._ended:
                    return None
                self._changed.wait(left_s)
            self._flying.pop(action_id, None)
            return self._ended.pop(number)

    def _send(self, action_id: int, target: str, value: Value | str, ttl_s: float) -> int:
        link, session = self._link, self._session
        device = session.device if session else None
        if link is None or device is None or not self._is_listening():
            hint = "is its serial_bridge source up? see edge-agent status"
            raise Retryable(f"{target}: no device answers at the port", hint=hint)
        entry = next((a for a in device.actuators if a and a.name == target), None)
        if entry is None:
            names = ", ".join(a.name for a in device.actuators if a) or "none"
            raise Rejected(f"{target}: {device.id} has no such actuator", hint=f"it has: {names}")
        try:
            wire = checked_value(entry, _typed(entry, value))
        except CommandRefused as e:
            raise Rejected(str(e), hint=e.hint) from e
        try:
            number = link.command(target, wire, ttl_s)
        except CommandRefused as e:
            raise Retryable(str(e), hint=e.hint) from e
        while len(self._flying) >= _FLYING:
            self._ended.pop(self._flying.pop(next(iter(self._flying))), None)
        self._flying[action_id] = number
        self._ended[number] = None
        return number

    def _new_session(self, device_id: str, place: Cursor | None) -> Session:
        return Session(self._draw_id(), place, device_id or None)


class BridgePort:
    """The source's hold on the port, from its opening to its loss. `close` may be called again and does not raise."""

    def __init__(self, owner: BridgeLink, settings: BridgeSettings, link: Link) -> None:
        self.settings = settings
        self._owner = owner
        self._link = link
        self._open = True

    @property
    def session(self) -> Session:
        """For its counters and its device; its methods are the link's business."""
        return self._link.session

    def step(self, timeout_s: float) -> list[Event]:
        """What happened, after at most `timeout_s`. Raises Retryable once the port is gone."""
        if self._owner.lent:
            raise Retryable(f"{self.settings.device}: {self._owner.lent}")
        if not self._link.connected:
            raise _down(self.settings, self._link)
        events = self._link.step(timeout_s)
        self._owner.heard(events)
        return events

    def give(self, cursor: Cursor) -> int:
        """As BridgeLink.give."""
        return self._owner.give(cursor)

    def commit(self, number: int) -> None:
        """As BridgeLink.commit; any thread."""
        self._owner.commit(number)

    def start_afresh(self) -> None:
        """As BridgeLink.start_afresh; this port is closed by it."""
        self._open = False
        self._owner.start_afresh()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._owner.detach()


def _typed(entry: Actuator, value: Value | str) -> Value:
    """On and off may be 1 and 0, and a whole number may be written as 3.0. Raises Rejected for a text."""
    if isinstance(value, str):
        raise Rejected(f"{entry.name}: {value!a:.40} is a text", hint=f"give a {entry.type.name.lower()}")
    if entry.type is ValueType.BOOL and value in (0, 1):
        return bool(value)
    if entry.type in (ValueType.I32, ValueType.U32) and float(value).is_integer():
        return int(value)
    return value


def _down(settings: BridgeSettings, link: Link) -> Retryable:
    error = link.last_error
    if error is None:
        return Retryable(f"{settings.device}: not open", hint="is it plugged in and powered?")
    return Retryable(str(error), hint=error.hint)
