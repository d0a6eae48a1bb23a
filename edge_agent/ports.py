"""The seams: what a driver must be, and what it is given. Synchronous; every blocking call has a timeout.

A source driver is one file `sources/<kind>.py` with a docstring, a frozen `Config` (msgspec.Struct),
`open(config, context) -> Source` and its class; `kind = "<kind>"` in the site file names it. It may define
`fields(config) -> dict[str, FieldSpec]` where it knows its fields better than the site file does.
An actuator driver is the same in `actuators/`, with `open(config, context) -> Actuator`.
Drivers raise the classes of `errors`; they never retry, never log and go on, never start threads.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from edge_agent.types import Act, Frame, ImageView, Reading, Receipt, Stamp, Value


class Clock(Protocol):
    """One clock for the whole agent. `boot` names the boot that monotonic times belong to."""

    boot: str

    def now(self) -> Stamp: ...
    def mono_ns(self) -> int: ...


class FieldSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field as the site declares it: `type` is double, int, bool or string; `unit` is UCUM."""

    unit: str = ""
    type: str = "double"
    min: float | None = None
    max: float | None = None


class Spawner(Protocol):
    """Starts child processes from the main thread, whichever thread asks, so that their parent-death signal
    means the agent's death and not the death of a thread."""

    def spawn(self, argv: Sequence[str], *, pass_fds: Sequence[int] = (), **options: Any) -> subprocess.Popen[bytes]:
        """argv without a shell; `options` as subprocess.Popen. Raises Retryable when the system refuses."""


class Counters(Protocol):
    """Named counts of one part, shown in status and health; cheap enough for every reading."""

    def count(self, name: str, n: int = 1) -> None: ...
    def quarantine(self, reason: str, item: bytes) -> None:
        """Counts `reason` and keeps the newest few bad items, cut to a small size, for a person to look at."""
    def note(self, name: str, value: Value) -> None:
        """A latest value to show: the actual provider, the measured frame rate."""


class Context(Protocol):
    """What a driver gets at `open` beside its own configuration."""

    name: str
    """Of the source or actuator in the site file; the default stream."""
    clock: Clock
    counters: Counters
    spawner: Spawner
    links: Any
    """`links.Links`: whoever wants a port that several use asks here, so that it has one owner."""
    fields: dict[str, FieldSpec]
    views: tuple[ImageView, ...]
    """For cameras: the geometries that the lanes asked for."""


class Source(Protocol):
    """One open sensor link or camera.

    `read` waits at most `timeout_s` and returns what came, oldest first, possibly nothing. It raises Retryable
    when the link is gone (the framework closes, backs off and opens again), EndOfInput when a finite source is
    done, and never for one bad item: that is counted and quarantined through `context.counters`.
    `close` may be called after any error, once, and must not raise.
    """

    def read(self, timeout_s: float) -> Sequence[Reading | Frame]: ...
    def close(self) -> None: ...


@runtime_checkable
class Acknowledged(Protocol):
    """A source whose device keeps samples until they are committed."""

    def ack(self, cursor: int) -> None:
        """Everything up to `cursor` is on disk; the device may forget it."""


class Actuator(Protocol):
    """What carries an action out. `apply` returns a receipt when the outcome is known (read back, where the
    device can), raises Retryable when another try may help before `timeout_s`, Rejected when none will."""

    def apply(self, action: Act, timeout_s: float) -> Receipt: ...
    def close(self) -> None: ...
