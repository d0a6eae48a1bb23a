"""What the broker keeps of a gateway beside its birth: how it is, and what it runs. Retained, the latest wins,
neither numbered nor acknowledged."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_agent.contract import terms
from edge_agent.contract.messages import Model


class _Document(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", omit_defaults=True):
    """As messages._Message."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As messages._Part."""


class Disk(_Part, frozen=True, kw_only=True):
    """The volume of the store."""

    total_bytes: terms.Count
    free_bytes: Annotated[int, Meta(ge=0, description="What the agent's user may still fill.")]


class StoreHealth(_Part, frozen=True, kw_only=True):
    """The database. `failing` says why nothing can be committed, and is left out while that works."""

    sqlite: Annotated[str, Meta(description="SQLite's version.")]
    database_bytes: terms.Count
    wal_bytes: terms.Count
    quota_bytes: terms.Count
    commits: Annotated[int, Meta(ge=0, description="Since the start.")]
    readings: Annotated[int, Meta(ge=0, description="Committed since the start, with all other numbered entries.")]
    failing: str = ""


class OutboxHealth(_Part, frozen=True, kw_only=True):
    """What waits to be delivered."""

    rows: Annotated[int, Meta(ge=0, description="About how many rows wait.")]
    oldest_s: Annotated[float, Meta(ge=0, description="Age of the oldest one.")] | None = None
    gone_in_s: Annotated[float, Meta(ge=0, description="Until all are delivered at this speed.")] | None = None


class Quantiles(_Part, frozen=True, kw_only=True):
    """Of durations since the start, in milliseconds."""

    count: terms.Count
    mean_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class EngineHealth(_Part, frozen=True, kw_only=True):
    """The rules' side: `latency` from a reading's stamp to what followed from it."""

    handled: Annotated[int, Meta(ge=0, description="Events since the start.")]
    shed: Annotated[int, Meta(ge=0, description="Readings shed since the start because one source sent too many.")]
    latency: Quantiles


class WorkerHealth(_Part, frozen=True, kw_only=True):
    """One lane: a model, its trust, and how its worker does."""

    lane: terms.Name
    model: Model
    trust: terms.Trust
    fresh: Annotated[bool, Meta(description="Its last good output may still be used.")]
    up: bool | None
    counts: Annotated[
        dict[str, terms.Count],
        Meta(description="Since the start: `predictions`, `invalid`, `skipped`, `starts`, `opened`."),
    ]
    latency: Quantiles


class Machine(_Part, frozen=True, kw_only=True):
    """The box itself; what it does not tell is left out."""

    temperature_c: Annotated[float, Meta(description="Of the hottest zone that the kernel names.")] | None = None
    load_1m: Annotated[float, Meta(ge=0)] | None = None
    rss_bytes: Annotated[int, Meta(ge=0, description="Memory of the agent's main process.")] | None = None


class FlashHealth(_Part, frozen=True, kw_only=True):
    """What is written to the medium that holds the store; what the system does not tell is null, with `why_not`."""

    device: Annotated[str, Meta(description="As the kernel names it, empty where it tells nothing.")] = ""
    process_bytes: Annotated[int, Meta(ge=0, description="By the agent since its start.")] | None = None
    device_bytes: Annotated[int, Meta(ge=0, description="By all programs and the file system since then.")] | None = (
        None
    )
    process_bytes_per_day: Annotated[int, Meta(ge=0)] | None = None
    device_bytes_per_day: Annotated[int, Meta(ge=0)] | None = None
    card_tbw: (
        Annotated[float, Meta(description="Terabytes the medium is made for, as the site file says.")] | None
    ) = None
    years: (
        Annotated[float, Meta(ge=0, description="It lasts at this rate; without `card_tbw`, one terabyte.")] | None
    ) = None
    why_not: str = ""


class ClockHealth(_Part, frozen=True, kw_only=True):
    """The wall clock, and why it is not believed."""

    synced: bool
    why_not: str = ""
    vouched_by: Annotated[str, Meta(description="`ntp`, a time service, or `rtc`, the box's own clock.")]
    offset_ms: Annotated[int, Meta(description="UTC less monotonic time of this boot, once known.")] | None = None
    uncertainty_ms: Annotated[int, Meta(ge=0, description="Of `offset_ms`.")] | None = None
    steps: Annotated[int, Meta(ge=0, description="How often it was set since the start.")]
    last_step: str = ""


class BudgetHealth(_Part, frozen=True, kw_only=True):
    """What a link that costs has cost in the day that began `86400 - day_ends_s` ago."""

    metered: Annotated[bool, Meta(description="False: the connection is on a link that is free.")]
    per_day_bytes: terms.Count
    used_bytes: terms.Count
    left_bytes: terms.Count
    reserve_left_bytes: Annotated[int, Meta(ge=0, description="For alerts, decisions and the ledger alone.")]
    day_ends_s: terms.Count
    waits_s: Annotated[
        dict[str, float],
        Meta(description="Who is on hold, and for how long: `urgent`, `prediction`, `live`, `backlog`."),
    ] = {}
    thinned: Annotated[int, Meta(ge=0, description="Rows dropped and declared since the start.")] = 0


class Health(_Document, frozen=True, kw_only=True, tag="health/1"):
    """How the gateway is, twice as often as it expires at the broker. What is in `parts` is for people."""

    gw: terms.GatewayId
    epoch: terms.Epoch
    start_no: terms.StartNo
    boot: terms.BootId
    t: terms.UtcMs | None
    m: terms.MonoMs
    tq: terms.TimeQuality
    version: Annotated[str, Meta(description="Of the agent.")]
    uptime_s: Annotated[float, Meta(ge=0, description="Of the agent.")]
    ok: bool
    trouble: Annotated[list[str], Meta(description="What is not as it should be, in words, worst first.")]
    rung: terms.Rung
    alerts: Annotated[int, Meta(ge=0, description="How many are raised now.")]
    store: StoreHealth
    outbox: OutboxHealth
    dropped: Annotated[
        dict[terms.GapReason, terms.Count], Meta(description="Numbers declared as gaps since the start, by reason.")
    ]
    engine: EngineHealth
    workers: list[WorkerHealth]
    machine: Machine
    disk: Disk | None = None
    flash: FlashHealth | None = None
    clock: ClockHealth | None = None
    budget: BudgetHealth | None = None
    parts: list[dict[str, Any]] = []


class Reported(_Document, frozen=True, kw_only=True, tag="reported/1"):
    """What the gateway runs: told at the start and when it changes."""

    gw: terms.GatewayId
    epoch: terms.Epoch
    start_no: terms.StartNo
    t: terms.UtcMs | None
    tq: terms.TimeQuality
    version: Annotated[str, Meta(description="Of the agent.")]
    site_sha256: Annotated[terms.Sha256, Meta(description="Of the site file's content, not of its layout.")]
    sources: Annotated[dict[terms.Name, str], Meta(description="By source: its kind.")]
    actuators: Annotated[dict[terms.Name, str], Meta(description="By actuator: its kind.")]
    models: Annotated[dict[terms.Name, Model], Meta(description="By lane.")]
    rules: Annotated[dict[terms.Name, terms.Sha256], Meta(description="By rule: the hash of its text and options.")]
    desired: Annotated[int, Meta(ge=0, description="Version of the desired state that it follows.")] | None = None
    desired_refused: Annotated[str, Meta(description="Why the desired state that came was refused, as a whole.")] = ""
