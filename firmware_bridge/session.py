"""The host's side of one device: bytes in, events out, bytes to send. No I/O, no clock, no thread; bounded memory.

The owner calls `connected` at every (re)connect, `receive` with what came, `tick` no later than `next_deadline`, and
writes `data_to_send`. It calls `commit` after its own durable commit of an event's cursor: only then does the device
forget those samples. All times are monotonic nanoseconds and come in by parameter. Not thread-safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from firmware_bridge.clock import ClockMap
from firmware_bridge.commands import Commands
from firmware_bridge.errors import BadMessage, CommandRefused, UnknownType
from firmware_bridge.events import (
    Batch,
    ClockJumped,
    Cursor,
    Device,
    Event,
    Gap,
    HealthReport,
    Incompatible,
    LineQuality,
    LogLine,
    Ready,
    Restarted,
    SafeState,
    Silent,
    WrongDevice,
)
from firmware_bridge.frame import Decoder, FrameCounters, seal
from firmware_bridge.intake import Columns, Intake, MissingBefore, RateLimit, distance
from firmware_bridge.messages import (
    VERSION,
    Ack,
    Health,
    Hello,
    Info,
    Log,
    Lost,
    Message,
    Ping,
    Pong,
    Receipt,
    Safe,
    Samples,
    Value,
    decode,
    encode,
)
from firmware_bridge.messages import Actuator as ActuatorEntry
from firmware_bridge.messages import Stream as StreamEntry
from firmware_bridge.schema import Schema, printable

_OUT_LIMIT = 8192
# A second hello, with its ping, may go out before the first is answered.
_PINGS_KEPT = 4
_LEVELS = ("debug", "info", "warning", "error")
_CAUSES = ("boot", "silence", "firmware")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the host allows and how patient it is."""

    max_samples_per_s: int = 20_000
    hello_ns: int = 250_000_000
    ping_ns: int = 250_000_000
    silent_ns: int = 1_500_000_000
    noise_window_ns: int = 5_000_000_000
    settle_ns: int = 30_000_000_000
    drift_ppm: int = 200


class State(Enum):
    """Where a session stands."""

    DOWN = "down"
    GREETING = "greeting"
    LIVE = "live"


@dataclass(slots=True)
class Counters:
    """What the session dropped, beside what the frame decoder counts."""

    bad_messages: int = 0
    unknown_types: int = 0
    unexpected: int = 0
    """well-formed, but not now: samples before the hello is complete, or the host's own frames coming back"""
    out_of_order: int = 0


class Session:
    """One device. `session_id` is random, not 0, and new for every process.

    `durable` is the stored cursor and `device_id` whose it is; without them the first device that answers is taken.
    """

    def __init__(
        self,
        session_id: int,
        durable: Cursor | None = None,
        device_id: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.state = State.DOWN
        self.counters = Counters()
        self._limits = limits or Limits()
        self._id = session_id
        self.clock = ClockMap(self._limits.drift_ppm)
        self._decoder = Decoder()
        self._intake = Intake(durable, RateLimit(self._limits.max_samples_per_s))
        self._schema = Schema()
        self._columns = Columns()
        self._commands = Commands(self._limits.settle_ns)
        self._out = bytearray()
        self._seq = 0
        self._hello_ns = 0
        self._ping_ns = 0
        self._quick_pings = 0
        self._resend_ns = 0
        self._heard_ns = 0
        self._noise_ns: int | None = None
        self._noise_base = (0, 0)
        self._noisy = False
        self._pings: dict[int, int] = {}
        self._token = 0
        self._ack_due = False
        self._safe: Safe | None = None
        self._device_id = device_id
        self._objected: Event | None = None

    @property
    def frames(self) -> FrameCounters:
        """What the frame decoder counted."""
        return self._decoder.counters

    @property
    def device(self) -> Device | None:
        """The device as last described; None before the first complete hello."""
        return self._schema.device

    @property
    def duplicates(self) -> int:
        """Sample frames that held nothing new."""
        return self._intake.duplicates

    # ---- the link ----

    def connected(self, now_ns: int) -> None:
        """The port was (re)opened: forgets unfinished input and output, and says hello."""
        self._decoder.reset()
        self._out.clear()
        # Ends whatever half frame the device still holds.
        self._out += b"\0"
        self._heard_ns = now_ns
        self._noise_ns = now_ns
        self._greet(now_ns)

    def disconnected(self) -> None:
        """The port is gone. Commands in flight go on when it is back, or end by their deadline."""
        self.state = State.DOWN
        self._out.clear()

    def data_to_send(self) -> bytes:
        """Takes what is to be written now; unwritten data may be dropped, all of it is repeated when needed."""
        if self._ack_due and self.state is State.LIVE:
            self._send_ack()
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now_ns: int) -> list[Event]:
        """What `data`, received by `now_ns`, brought about."""
        events: list[Event] = []
        for kind, _, payload in self._decoder.feed(data):
            try:
                message = decode(kind, payload)
            except UnknownType:
                self.counters.unknown_types += 1
            except BadMessage:
                self.counters.bad_messages += 1
            else:
                self._heard_ns = now_ns
                events += self._take(message, now_ns)
        return events

    def tick(self, now_ns: int) -> list[Event]:
        """What the passing of time brought about; also queues what is due to be sent."""
        commands, ended = self._commands.due(now_ns)
        events: list[Event] = list(ended)
        if self.state is State.DOWN:
            return events
        events += self._judge_line(now_ns)
        if self.state is State.LIVE and now_ns - self._heard_ns >= self._limits.silent_ns:
            events.append(Silent(self._heard_ns))
            self._greet(now_ns)
        if self.state is State.GREETING:
            if now_ns >= self._hello_ns:
                self._send_hello(now_ns)
            return events
        for command in commands:
            self._send(command)
        if now_ns >= self._ping_ns:
            self._send_ping(now_ns)
        return events

    def next_deadline(self, now_ns: int) -> int:
        """When `tick` is due, if nothing is received before; at most a second away."""
        times = [now_ns + 1_000_000_000]
        if self.state is State.GREETING:
            times.append(self._hello_ns)
        if self.state is State.LIVE:
            times += (self._ping_ns, self._heard_ns + self._limits.silent_ns)
            command_ns = self._commands.deadline_ns()
            times += () if command_ns is None else (command_ns,)
        return max(now_ns, min(times))

    # ---- the owner ----

    def commit(self, cursor: Cursor) -> None:
        """Everything up to `cursor` is durable; the next `data_to_send` acknowledges it."""
        if self._intake.commit(cursor):
            self._ack_due = True

    def command(self, actuator: str, value: Value, ttl_ns: int, now_ns: int) -> int:
        """Puts a command into `data_to_send` that must start within `ttl_ns`; returns its id. Raises CommandRefused.

        Exactly one CommandEnded follows, after at most ttl plus the settling time of a pending actuator.
        """
        device = self.device
        if self.state is not State.LIVE or device is None:
            raise CommandRefused(f"{actuator}: the device is not connected", "check cable and power")
        if not self.clock.synced:
            raise CommandRefused(f"{actuator}: the device's clock is not known yet", "try again in a second")
        found = self._schema.actuator(actuator)
        if found is None:
            names = ", ".join(entry.name for entry in device.actuators if entry) or "none"
            raise CommandRefused(f"{actuator}: {device.id} has no such actuator", f"it has: {names}")
        deadline_ns = now_ns + ttl_ns
        deadline_us = self.clock.deadline_us(deadline_ns, now_ns)
        command = self._commands.add(
            device.boot, found, value, deadline_us=deadline_us, deadline_ns=deadline_ns, now_ns=now_ns
        )
        self._send(command)
        return command.id

    # ---- sending ----

    def _send(self, message: Message) -> None:
        if len(self._out) < _OUT_LIMIT:
            self._out += seal(message.TYPE, self._seq, encode(message))
            self._seq = (self._seq + 1) & 255

    def _greet(self, now_ns: int) -> None:
        self.state = State.GREETING
        self._send_hello(now_ns)

    def _send_hello(self, now_ns: int) -> None:
        durable = self._intake.durable
        self._hello_ns = now_ns + self._limits.hello_ns
        if durable is None:
            self._send(Hello(VERSION, self._id))
        else:
            self._send(Hello(VERSION, self._id, durable.boot, durable.next))
        # The device answers it before the first sample, so that the backlog gets its own times. While greeting the
        # clock may be that of a boot which has ended; later, only the next ping may ask: its answer says hello again.
        if self.state is State.GREETING or not self.clock.synced:
            self._ask_time(now_ns)

    def _send_ack(self, resend: int | None = None) -> None:
        durable = self._intake.durable
        if durable is not None:
            self._send(Ack(durable.boot, durable.next, resend))
            self._ack_due = False

    def _ask_time(self, now_ns: int) -> None:
        self._token = (self._token + 1) & 0xFFFFFFFF
        self._pings[self._token] = now_ns
        if len(self._pings) > _PINGS_KEPT:
            del self._pings[next(iter(self._pings))]
        self._send(Ping(self._token))

    def _send_ping(self, now_ns: int) -> None:
        self._ask_time(now_ns)
        # A lost last acknowledgement is repaired here.
        self._send_ack()
        device = self.device
        declared_ns = device.silence_ms * 250_000 if device and device.silence_ms else self._limits.ping_ns
        self._quick_pings = max(0, self._quick_pings - 1)
        wait_ns = 20_000_000 if self._quick_pings else min(self._limits.ping_ns, declared_ns)
        self._ping_ns = now_ns + wait_ns

    def _ask_again(self, now_ns: int) -> None:
        self.counters.out_of_order += 1
        if now_ns >= self._resend_ns:
            self._send_ack(resend=self._intake.expected)
            # Frames already on their way would ask again, each for all that follows.
            self._resend_ns = now_ns + max(20_000_000, 2 * (self.clock.round_trip_ns or 0))

    # ---- receiving ----

    def _take(self, message: Message, now_ns: int) -> list[Event]:
        # The busiest first.
        if isinstance(message, Samples | Lost) and self.state is State.LIVE:
            return self._on_numbered(message, now_ns)
        if isinstance(message, Info):
            return self._on_info(message, now_ns)
        if isinstance(message, StreamEntry | ActuatorEntry):
            self._schema.add(message)
            return self._complete(now_ns)
        if self.state is not State.LIVE:
            self.counters.unexpected += 1
            return []
        if isinstance(message, Pong):
            return self._on_pong(message, now_ns)
        return self._report(message, now_ns)

    def _report(self, message: Message, now_ns: int) -> list[Event]:
        if isinstance(message, Receipt):
            event = self._commands.on_receipt(message, now_ns)
            return [event] if event else []
        if isinstance(message, Safe):
            return self._on_safe(message)
        if isinstance(message, Log):
            return [LogLine(_LEVELS[message.level], printable(message.text), message.time_us)]
        if isinstance(message, Health):
            return [HealthReport(message)]
        self.counters.unexpected += 1
        return []

    def _on_info(self, info: Info, now_ns: int) -> list[Event]:
        objection = self._objection(info)
        if objection:
            self.state = State.GREETING
            said, self._objected = self._objected == objection, objection
            return [] if said else [objection]
        self._objected = None
        if info.session != self._id:
            self.state = State.GREETING
            # One hello per answer, but never faster than this: a device may chatter.
            self._hello_ns = min(self._hello_ns, now_ns + 10_000_000)
            return []
        self._device_id = info.device
        events = self._intake.on_info(info)
        if any(isinstance(event, Restarted) for event in events):
            events += self._commands.device_reset()
            self.clock.reset()
            self._safe = None
            self._schema.clear()
            self.state = State.GREETING
        self._schema.begin(info)
        return events + self._complete(now_ns)

    def _objection(self, info: Info) -> Event | None:
        if info.version != VERSION:
            return Incompatible(info.version)
        if self._device_id not in (None, info.device):
            return WrongDevice(printable(self._device_id or ""), printable(info.device))
        return None

    def _complete(self, now_ns: int) -> list[Event]:
        if self.state is not State.GREETING or not self._schema.complete:
            return []
        self.state = State.LIVE
        self._quick_pings = 5
        self._ping_ns = now_ns
        self._resend_ns = now_ns
        durable = self._intake.durable
        if durable is not None and durable.next != self._intake.expected:
            self._send_ack(resend=self._intake.expected)
        device = self._schema.finish()
        self._columns = Columns(device.streams)
        return [Ready(device, self._intake.cursor)]

    def _on_numbered(self, message: Samples | Lost, now_ns: int) -> list[Event]:
        if message.boot != self._intake.boot:
            self.counters.unexpected += 1
            return []
        try:
            if isinstance(message, Lost):
                event: Batch | Gap | None = self._intake.on_lost(message)
            else:
                event = self._intake.on_samples(message, self._columns, self.clock, now_ns)
        except MissingBefore:
            self._ask_again(now_ns)
            return []
        return [event] if event else []

    def _on_pong(self, message: Pong, now_ns: int) -> list[Event]:
        sent_ns = self._pings.get(message.token)
        if sent_ns is None:
            return []
        apart = self.clock.update(sent_ns, message.time_us, now_ns)
        if distance(self._intake.expected, message.sent) > 0:
            self._ask_again(now_ns)
        if self._safe is None or self._safe.entries != message.safe_entries:
            self._send_hello(now_ns)
        return [ClockJumped(apart)] if apart else []

    def _on_safe(self, message: Safe) -> list[Event]:
        if message == self._safe:
            return []
        self._safe = message
        cause = _CAUSES[message.cause] if message.cause < len(_CAUSES) else f"cause {message.cause}"
        unplaced = self._schema.actuator_names(message.unplaced)
        return [SafeState(message.active, cause, message.since_us, message.entries, message.silent_us, unplaced)]

    def _judge_line(self, now_ns: int) -> list[Event]:
        if self._noise_ns is None or now_ns - self._noise_ns < self._limits.noise_window_ns:
            return []
        frames = self._decoder.counters
        damaged, good = frames.damaged - self._noise_base[0], frames.good - self._noise_base[1]
        self._noise_base = (frames.damaged, frames.good)
        self._noise_ns = now_ns
        noisy = damaged > 0 if not good else damaged >= 3 and damaged * 20 > good
        if noisy == self._noisy:
            return []
        self._noisy = noisy
        return [LineQuality(noisy, damaged, good)]
