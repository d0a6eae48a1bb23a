"""What a session tells its owner. Frozen; an event that moves the durable cursor carries the cursor to commit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from firmware_bridge.messages import Actuator, Health, Stream, Value


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything of `boot` before sample `next` is accounted for. Stored in the owner's transaction.

    `life` counts restarts under one boot id that this session saw; store boot and next, life is 0 after a start.
    """

    boot: int
    next: int
    life: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """What a device said about itself. `streams[i]` is None where entry i was refused; `refused` says why."""

    id: str
    firmware: str
    boot: int
    streams: tuple[Stream | None, ...]
    actuators: tuple[Actuator | None, ...]
    silence_ms: int
    ring: int
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """The device answered the hello and its schema is complete; samples follow, commands may go.

    The owner stores `cursor` at the first contact: losses before a first stored cursor cannot be told.
    """

    device: Device
    cursor: Cursor


class Quality(IntEnum):
    """Of one sample's value."""

    GOOD = 0
    BAD = 1
    """not measured, or not finite; the value is None"""
    OUT_OF_RANGE = 2
    """outside what the stream declares; the value is kept"""
    REJECTED = 3
    """of no usable stream, or of another type than the stream's; the value is None"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive samples `first` to `cursor.next` - 1, in columns of equal length; `quality[i]` is a Quality.

    Host time (monotonic ns) of sample i is `device_us[i]` * 1000 + `offset_ns`, wrong by at most `error_ns`.
    `offset_ns` is None while the clocks are not synchronised, and when the device's times cannot be true: then
    use `received_ns`.
    """

    first: int
    streams: tuple[int, ...]
    device_us: tuple[int, ...]
    values: tuple[Value | None, ...]
    quality: bytes
    offset_ns: int | None
    error_ns: int
    received_ns: int
    cursor: Cursor


class GapReason(StrEnum):
    """Why samples will not come."""

    OVERWRITTEN = "overwritten"
    DEVICE_RESET = "device_reset"
    RATE_LIMIT = "rate_limit"


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples `first` to `end` - 1 of `boot` will not come; `end` None: nobody knows how many."""

    boot: int
    first: int
    end: int | None
    reason: GapReason
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Restarted:
    """The device booted. `rolled_back`: seen by its counters or clock, the boot id did not change."""

    boot_before: int
    boot: int
    rolled_back: bool


class Outcome(StrEnum):
    """How a command ended. All but DONE mean: do not rely on it."""

    DONE = "done"
    FAILED = "failed"
    RANGE = "range"
    TYPE = "type"
    NO_ACTUATOR = "no_actuator"
    EXPIRED = "expired"
    STALE = "stale"
    SAFED = "safed"
    DEVICE_RESET = "device_reset"
    """the device booted meanwhile: unknown whether it was carried out, and no longer in force"""
    UNKNOWN = "unknown"
    """no receipt came: unknown whether it was carried out"""


@dataclass(frozen=True, slots=True)
class CommandPending:
    """The device started the command; another event will end it."""

    id: int
    actuator: str


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """The end of a command, once per id. `value` is what the device read back."""

    id: int
    actuator: str
    outcome: Outcome
    value: Value | None = None
    device_us: int | None = None


@dataclass(frozen=True, slots=True)
class SafeState:
    """The device's account of its safe state; `unplaced` names actuators that did not take their safe value."""

    active: bool
    cause: str
    since_us: int
    entries: int
    silent_us: int
    unplaced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the firmware; control characters are escaped."""

    level: str
    text: str
    device_us: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The device's figures about itself."""

    health: Health


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing valid came since `since_ns`; the session says hello until something does."""

    since_ns: int


@dataclass(frozen=True, slots=True)
class Incompatible:
    """The device speaks only `version`; it is greeted again now and then."""

    version: int


@dataclass(frozen=True, slots=True)
class WrongDevice:
    """Another device than this session's answers at the port: nothing of it is taken. It needs its own session."""

    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The clocks moved apart further than drift explains; earlier host times of this boot are doubtful."""

    apart_ns: int


@dataclass(frozen=True, slots=True)
class LineQuality:
    """The line became noisy or clean: `damaged` runs of bytes against `good` frames in the last window."""

    noisy: bool
    damaged: int
    good: int


Event = (
    Ready
    | Batch
    | Gap
    | Restarted
    | CommandPending
    | CommandEnded
    | SafeState
    | LogLine
    | HealthReport
    | Silent
    | Incompatible
    | WrongDevice
    | ClockJumped
    | LineQuality
)
