"""The seams: what a driver must be, and what it is given. Synchronous; every blocking call has a timeout.

A source driver is one file `sources/<kind>.py` with a docstring, a frozen `Config` (msgspec.Struct),
`open(config, context) -> Source` and its class; `kind = "<kind>"` in the site file names it. It may define
`fields(config) -> dict[str, FieldSpec]` where it knows its fields better than the site file does.
An actuator driver is the same in `actuators/`, with `open(config, context) -> Actuator`.
Drivers raise the classes of `errors`; they never retry, never log and go on, never start threads.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from edge_agent.types import (
    Act,
    Frame,
    HealthChange,
    ImageView,
    Lost,
    Reading,
    Receipt,
    SeqRange,
    Stamp,
    Value,
)


class Clock(Protocol):
    """One clock for the whole agent. `boot` names the boot that monotonic times belong to."""

    boot: str

    def now(self) -> Stamp: ...
    def mono_ns(self) -> int: ...


class FieldSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field as the site declares it: `type` is double, int, bool or string; `unit` is UCUM."""

    unit: str = ""
    type: Annotated[
        str, Meta(pattern="^(double|int|bool|string)$", description="double, int, bool or string")
    ] = "double"
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
    cursor: int | None
    """The device's own number of the last sample that an earlier run of the agent committed, if it ever did."""

    def announce(self, fields: Mapping[str, FieldSpec]) -> None:
        """What the device itself says of the fields of the default stream: their units go with every row."""


Item = Reading | Frame | Lost | HealthChange
"""A loss that the device declares stands between the readings; a `HealthChange` is of a part of the source, named
`<source>.<part>`."""


class Source(Protocol):
    """One open sensor link or camera.

    `read` waits at most `timeout_s` and returns what came, oldest first, possibly nothing. It raises Retryable
    when the link is gone (the framework closes, backs off and opens again), EndOfInput when a finite source is
    done, and never for one bad item: that is counted and quarantined through `context.counters`.
    `close` may be called after any error, once, and must not raise.
    """

    def read(self, timeout_s: float) -> Sequence[Item]: ...
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


class Body(Protocol):
    """What one named thread of the agent runs. `run` returns after `stop`, or raises; the supervisor decides
    what follows. `progress_ns` is the monotonic time of its last turn, for the watchdog."""

    name: str
    progress_ns: int

    def run(self) -> None: ...
    def stop(self) -> None:
        """From any thread; wakes the body."""


class Row(msgspec.Struct, frozen=True):
    """One message of the outbox, encoded once: what is stored is what is sent.

    `prio` 0 is alerts, decisions and the ledger, 1 predictions, 2 telemetry; (`prio`, `id`) is the row's key and
    `id` grows by commit. `kind` and `key` make the topic: `up/{kind}` or `up/{kind}/{key}`. `body` is deflated
    JSON. `segments` are the numbers it carries, of one epoch.
    """

    prio: int
    id: int
    kind: str
    key: str
    n: int
    epoch: str
    segments: tuple[SeqRange, ...]
    body: bytes


class Acked(msgspec.Struct, frozen=True):
    """The next hop (the broker, the folder) has confirmed these rows, as (prio, id)."""

    rows: tuple[tuple[int, int], ...]


class Refused(msgspec.Struct, frozen=True):
    """The next hop refused a row; `retry` says whether the same row may be accepted later."""

    row: tuple[int, int]
    code: str
    retry: bool


class BackendAck(msgspec.Struct, frozen=True):
    """The backend holds these ranges of an epoch (both ends included), and will never take those rejected."""

    epoch: str
    have: dict[str, tuple[tuple[int, int], ...]]
    reject: tuple[tuple[str, int, str], ...] = ()


class Inbound(msgspec.Struct, frozen=True):
    """A message for this gateway on a `down/` topic other than `down/ack`; not checked in any way."""

    topic: str
    body: bytes
    retained: bool
    response_topic: str = ""
    correlation: bytes = b""


class Reply(msgspec.Struct, frozen=True):
    """What became of a command. `suffix` is the topic below `up/`; `correlation` is the sender's own."""

    suffix: str
    body: bytes
    correlation: bytes = b""


class Up(msgspec.Struct, frozen=True):
    """Connected; at most `window` rows may be in flight. Rows in flight before a `Down` must be sent again.

    `window_bytes`: no further telemetry while so many bytes are in flight, so that an alert does not wait behind
    them on a slow line. `link`: the network interface that the connection leaves by, where it is known."""

    window: int
    window_bytes: int = 65_536
    link: str = ""


class Traffic(msgspec.Struct, frozen=True):
    """What this connection has cost so far, in bytes, both ways, headers included."""

    total_bytes: int


class Down(msgspec.Struct, frozen=True):
    """Not connected, with the reason in words that name the cause."""

    reason: str


UplinkEvent = Acked | Refused | BackendAck | Inbound | Up | Traffic | Down


class Uplink(Protocol):
    """A transport for rows. `send` never blocks on the network and is called only while up and inside the window.
    `publish_latest` replaces a retained document (`state`, `health`, `reported`): a slot, not a row.
    `answer` says what became of a command (`cmd/{id}`): not retained, kept in memory until it is confirmed.
    `poll` waits at most `timeout_s` for events, and `wake` ends that wait early, from any thread."""

    def send(self, row: Row) -> None: ...
    def publish_latest(self, suffix: str, body: bytes) -> None: ...
    def answer(self, suffix: str, body: bytes, correlation: bytes) -> None: ...
    def poll(self, timeout_s: float) -> Sequence[UplinkEvent]: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Outbox(Protocol):
    """The uplink's view of the store: committed rows, and what became of them. Used from the uplink's thread."""

    def unacked(self, prio: int, after: int, limit: int) -> Sequence[Row]:
        """Committed rows of a priority with id > `after` that are not delivered yet, oldest first."""

    def newest(self, prio: int) -> int:
        """The highest committed id of a priority, 0 when there is none."""

    def unsettled(self, prio: int) -> int:
        """About how many committed rows of a priority are neither delivered nor given up."""

    def delivered(self, rows: Sequence[tuple[int, int]]) -> None:
        """These need not be sent again; durable with the store's next commit."""

    def refused(self, row: tuple[int, int], code: str) -> None:
        """Never send it again: dead letter, with a `rejected` gap for its numbers."""

    def thinned(self, rows: Sequence[tuple[int, int]]) -> None:
        """Never send these: they are dropped, with a `thinned` gap for their numbers."""
