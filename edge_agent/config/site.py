"""What a site file may say: the frozen types that the loader fills and everything else reads.

Durations are text such as "500ms", "10s", "5m", "2h" or "1d" and become nanoseconds (`*_ns`) where they are used
(`durations.parse_duration`); sizes are text such as "64MB" or "1GiB". Defaults are the ones a careful operator
would choose.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.ports import FieldSpec
from edge_agent.types import Value

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="lower case letters, digits and _")]
SignalName = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=96, description='such as "motor.temp"')
]
FieldPath = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$",
        max_length=96,
        description='a field, such as temp, or "stream.field"',
    ),
]
TopicSegment = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}$", description="lower case letters, digits, _ and -")]
RuleId = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="lower case letters, digits, _ and -")
]
ActionTarget = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,47}\.[A-Za-z0-9_.-]{1,128}$",
        description='"<actuator>.<target>", such as "press.relay"',
    ),
]
Text = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$", max_length=500, description="without control characters"
    ),
]
Duration = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(ms|s|m|h|d)$",
        description='such as "500ms", "10s", "5m"',
        extra={"shortest": "0s", "longest": "366d"},
    ),
]
"""Where `extra` of a text names `shortest` and `longest`, the loader holds the duration to them."""
WindowLength = Annotated[Duration, Meta(extra={"shortest": "1ms", "longest": "30d"})]
"""A time to look back over or to wait for silence."""
HoldTime = Annotated[Duration, Meta(extra={"shortest": "0s", "longest": "30d"})]
Deadline = Annotated[Duration, Meta(extra={"shortest": "10ms", "longest": "1h"})]
FilePath = Annotated[
    str, Meta(description="a file; relative to the folder of the site file", extra={"relative": True})
]
"""The loader makes it absolute."""
Size = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(B|kB|KiB|MB|MiB|GB|GiB)$", description='such as "64MB"')]
Port = Annotated[int, Meta(ge=1, le=65535)]

_SIZE = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}


def size_bytes(text: str) -> int:
    """`"64MB"` -> 64_000_000. The text has matched `Size`."""
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * _SIZE[unit]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AgentConfig(_Strict, frozen=True):
    """`[agent]`: who this gateway is and where it keeps its state."""

    gateway: TopicSegment
    """With tenant and site its place in every topic: `edge/v1/{tenant}/{site}/{gateway}/…`."""
    tenant: TopicSegment = "default"
    site: TopicSegment = "default"
    data_dir: str = "/var/lib/edge-agent"
    """For what must outlive a power cut; absolute."""
    run_dir: str = "/run/edge-agent"
    """For the control socket and the event log ring; a tmpfs."""
    event_log_mb: Annotated[int, Meta(ge=1, le=1024)] = 16
    """Size of the ring of recent events; an alert freezes it."""
    clock: Literal["ntp", "rtc"] = "ntp"
    """Who vouches for the wall clock: a time service, as the kernel knows it, or the box's own clock alone."""
    hot_c: Annotated[float, Meta(ge=30, le=150)] = 80.0
    """From this temperature of its hottest zone on cameras pass fewer frames on to models."""


class SourceConfig(_Strict, frozen=True):
    """`[[source]]`: what all kinds share. `driver` is the kind's own `Config`, from the keys left over."""

    name: Name
    kind: str
    driver: msgspec.Struct
    group: TopicSegment = "all"
    """Its telemetry goes to `up/tele/{group}`."""
    stale_after: WindowLength = "10s"
    """A field that was not heard for this long is unknown to rules."""
    max_rate: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Readings per second that this source may put into the inbox; more is shed and declared as `overload`."""
    fields: dict[FieldPath, FieldSpec] = {}
    """By field name, or by `stream.field` where the source has several streams."""


class SignalConfig(_Strict, frozen=True):
    """`[[signal]]`: a window over a field."""

    name: SignalName
    of: SignalName
    fn: Literal["mean", "min", "max", "std", "range", "rate", "count", "percentile", "absent"]
    window: WindowLength | None = None
    last: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """A window by count instead of by time."""
    p: Annotated[float, Meta(ge=0, le=100)] | None = None
    """For `percentile`: which, 0 to 100."""


class ActionConfig(_Strict, frozen=True):
    """What a rule does when it is raised, and, with `else_value`, when it is cleared."""

    set: ActionTarget
    """`<actuator>.<target>`."""
    value: Value
    else_value: Value | None = None


class RuleConfig(_Strict, frozen=True):
    """`[[rule]]`. Expressions: rules/LANGUAGE.md."""

    id: RuleId
    when: str
    """Raises it."""
    for_: HoldTime | None = msgspec.field(default=None, name="for")
    """How long it must hold; "0s" says that an action may switch with every reading."""
    clear: str | None = None
    """Ends it; without it, `when` no longer being true."""
    otherwise: str | None = None
    """Decides while `when` is unknown."""
    severity: Literal["info", "warning", "critical"] = "warning"
    latch: bool = False
    """Stays raised until a person resets it."""
    text: Text = ""
    """What people read in the alert; the id where empty."""
    alert: bool = True
    """False: it acts without telling people."""
    actions: tuple[ActionConfig, ...] = ()


class ModelConfig(_Strict, frozen=True):
    """`[[model]]`: one lane. `input` is a camera's name, or a list of fields for a window."""

    name: Name
    package: str
    """Path of a package directory, relative to the site file or the project's `models/`."""
    input: Name | tuple[SignalName, ...]
    policy: Literal["latest", "every"] | None = None
    """This and the next two: default as the package's manifest says."""
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None
    threads: Annotated[int, Meta(ge=1, le=64)] | None = None
    providers: tuple[str, ...] = ()
    """onnx: such as ["CUDAExecutionProvider"]; empty: CPU."""
    delegate: str | None = None
    """litert: path of a delegate library."""
    memory_mb: Annotated[int, Meta(ge=32, le=65536)] = 512
    """Ceiling of the worker; more, and it is killed alone."""
    max_rate_hz: Annotated[float, Meta(gt=0)] | None = None
    """Asked at most so often."""
    worker: Name | None = None
    """Models that name the same worker share one process."""
    stale_after: WindowLength = "10s"
    """Without a prediction for this long its outputs are unknown."""


class ActuatorConfig(_Strict, frozen=True):
    """`[[actuator]]`: what all kinds share; `driver` is the kind's own `Config`."""

    name: Name
    kind: str
    driver: msgspec.Struct
    deadline: Deadline = "2s"
    """An action that is not done by then raises an alert."""


class McuConfig(_Strict, frozen=True):
    """`[[mcu]]`: a microcontroller whose firmware is updated over SMP. firmware_bridge/UPDATE.md."""

    name: Name
    source: Name | None = None
    """The serial_lines or serial_bridge source that owns its port; it pauses while the firmware is looked at or
    updated."""
    port: str | None = None
    """The port, where no source reads it: a stable name such as `/dev/serial/by-id/…`."""
    baud: Annotated[int, Meta(ge=50, le=4_000_000)] = 115_200
    """Of `port`; with `source`, the source's own counts."""
    key: FilePath | None = None
    """The public key (PEM) that must have signed an image; without it nothing can be flashed."""
    board: Text = ""
    """The board that an image must name; empty: any."""
    group: TopicSegment = "all"
    """For `mcu flash --group`."""
    slot: Size | None = None
    """Of its slot 1; default: as the device says."""
    health: Literal["answers", "hello", "samples"] = "answers"
    """What must hold in the health window: it answers over SMP; its source is up; its source gets samples."""
    window: Annotated[Duration, Meta(extra={"shortest": "1s", "longest": "1h"})] = "30s"
    """How long a new image is watched before it is confirmed."""


class CommandKeyConfig(_Strict, frozen=True):
    """`[[commands.key]]`: a public key that the backend's commands may be signed with. commands/COMMANDS.md."""

    name: TopicSegment
    """Who has it, as decisions and status show it."""
    file: FilePath
    """The public key, Ed25519 in PEM, as `edge-agent command keygen` or openssl writes it."""
    role: TopicSegment
    """What a command must say that it is given as."""
    allow: Annotated[
        tuple[Literal["rule.hold", "rule.release", "rule.reset", "alert.ack"], ...], Meta(min_length=1)
    ]
    """The commands that this key may give."""


class CommandsConfig(_Strict, frozen=True):
    """`[commands]`: who may command this gateway over MQTT. Without a key nothing is accepted."""

    key: Annotated[tuple[CommandKeyConfig, ...], Meta(max_length=16)] = ()


class StoreConfig(_Strict, frozen=True):
    """`[store]`."""

    quota: Size = "1GB"
    """Bytes of the database file and its -wal together."""
    commit_interval: Annotated[Duration, Meta(extra={"shortest": "10ms", "longest": "60s"})] = "1s"
    """What a power cut may cost; decisions and alerts are committed at once."""
    row_limit: Size = "96KiB"
    """A row is closed when its body would grow past this."""
    card_tbw: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    """Terabytes that the card or disk is made to have written to it, from its data sheet; status says how long it
    lasts."""


class TlsConfig(_Strict, frozen=True):
    """`[uplink.tls]`: files, never contents."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    """The name in the broker's certificate, where `host` is only an address."""


class BudgetConfig(_Strict, frozen=True):
    """`[uplink.budget]`: what a metered link may cost in a day."""

    per_day: Size
    """All bytes on the wire, both ways, headers and keepalive included."""
    reserve: Size | None = None
    """Of it for alerts, decisions and the ledger alone; default a tenth."""
    interfaces: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.*?-]{1,32}$")], ...] = ()
    """Links that cost, such as "wwan*"; any other is free. Empty: every link costs."""
    thin: bool = True
    """Every second row of telemetry is dropped, and declared, while more waits than a week could carry."""


class UplinkConfig(_Strict, frozen=True):
    """`[uplink]`: `mqtt`, `file` (air-gapped: rows go into a folder), or `none`."""

    kind: Literal["mqtt", "file", "none"] = "none"
    host: str = "localhost"
    port: Port = 1883
    version: Literal["5", "3.1.1"] = "5"
    client_id: str | None = None
    """Default: the gateway's name."""
    username: str | None = None
    password_file: str | None = None
    """Path, or `credential:NAME` for a systemd credential."""
    tls: TlsConfig | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    window: Annotated[int, Meta(ge=1, le=1000)] = 50
    """Messages in flight; the broker's Receive Maximum lowers it."""
    session_expiry_s: Annotated[int, Meta(ge=0, le=2_592_000)] = 86_400
    reconnect_max: Annotated[Duration, Meta(extra={"shortest": "1s", "longest": "1d"})] = "120s"
    """The longest wait between two attempts to connect; waits double up to it, with jitter."""
    backlog_rate: Annotated[int, Meta(ge=1)] | None = None
    """Rows per second for the backlog; live rows are not held back."""
    budget: BudgetConfig | None = None
    dir: str | None = None
    """For `file`: where the rows go."""


class DeliveryConfig(_Strict, frozen=True):
    """`[delivery]`: who must confirm a row before it may leave the outbox."""

    ack: Literal["broker", "backend"] = "broker"
    resend_after: Annotated[Duration, Meta(extra={"shortest": "1s", "longest": "1d"})] = "30s"
    """`backend`: sent and not covered after this long is sent again."""


class SiteConfig(_Strict, frozen=True):
    """The whole file."""

    agent: AgentConfig
    source: tuple[SourceConfig, ...] = ()
    signal: tuple[SignalConfig, ...] = ()
    model: tuple[ModelConfig, ...] = ()
    rule: tuple[RuleConfig, ...] = ()
    actuator: tuple[ActuatorConfig, ...] = ()
    mcu: tuple[McuConfig, ...] = ()
    store: StoreConfig = StoreConfig()
    uplink: UplinkConfig = UplinkConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    commands: CommandsConfig = CommandsConfig()
