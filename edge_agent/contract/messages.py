"""Shapes of the messages, version 1. What is written here is the contract; field order is the order on the wire.

Within a major only optional fields are added, and readers ignore fields they do not know. Times are UTC
milliseconds (`t`), monotonic milliseconds of the boot (`m`), and the quality of the first (`tq`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from edge_agent.types import Value

Ranges = dict[str, tuple[tuple[int, int], ...]]
"""By stream: ranges of numbers, both ends included, ascending."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", omit_defaults=True):
    pass


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    pass


class Channel(_Part, frozen=True, kw_only=True):
    """Values of one field. `q` has a Quality per value and is left out when all are good; `u` is UCUM."""

    u: str = ""
    x: list[Value | None]
    q: list[int] | None = None


class Segment(_Part, frozen=True, kw_only=True):
    """`n` readings of one stream; reading i has the number `seq0 + i`.

    `dt[0]` is the offset from the row's base time, every later one the difference to the reading before, in ms.
    `h` is the CRC-32 of the segment's own text before `,"h"`, in hex: the base time is not in it.
    """

    stream: str
    seq0: int
    n: int
    dt: list[int]
    ch: dict[str, Channel]
    h: str


class Tele(_Message, frozen=True, kw_only=True, tag="tele/1"):
    """Readings of all streams of one group in one commit; `t0` and `m0` are the same instant."""

    gw: str
    epoch: str
    boot: str
    t0: int | None
    m0: int
    tq: str
    seg: list[Segment]


class GapRange(_Part, frozen=True, kw_only=True):
    """Numbers of a stream that will not come, both ends included."""

    stream: str
    epoch: str
    from_: int = msgspec.field(name="from")
    to: int
    reason: str


class GapRanges(_Part, frozen=True, kw_only=True):
    """The same for many streams of one epoch that lost numbers for one reason."""

    epoch: str
    reason: str
    lost: Ranges


class GapMessage(_Message, frozen=True, kw_only=True, tag="gap/1"):
    """One range in `gap`, or many in `gaps`."""

    gw: str
    stream: str
    epoch: str
    seq: int
    gap: GapRange | None = None
    gaps: GapRanges | None = None


class Close(_Message, frozen=True, kw_only=True, tag="close/1"):
    """The last number of each stream of an epoch that has ended.

    With `lost`, the store of that epoch could not be read: `last` is then only what is known to have been reached.
    """

    gw: str
    stream: str
    epoch: str
    seq: int
    closed: str
    last: dict[str, int]
    lost: str = ""


class TimeFix(_Message, frozen=True, kw_only=True, tag="time_fix/1"):
    """UTC of that boot is its monotonic time plus `offset_ms`. It holds for all rows of the boot whose `tq` is
    `guessed`, sent before it or after it, and the newest of a boot counts."""

    gw: str
    stream: str
    epoch: str
    seq: int
    boot: str
    offset_ms: int
    uncertainty_ms: int


class Model(_Part, frozen=True, kw_only=True):
    name: str
    version: str
    sha256: str


class Ref(_Part, frozen=True, kw_only=True):
    """Readings that went into a prediction, both ends included."""

    stream: str
    epoch: str
    from_: int = msgspec.field(name="from")
    to: int


class Inputs(_Part, frozen=True, kw_only=True):
    """What was predicted from: the digest of the input, the readings in it, its number and instant."""

    digest: str
    refs: list[Ref]
    number: int | None = None
    t: int | None = None
    m: int | None = None


class Infer(_Message, frozen=True, kw_only=True, tag="infer/1"):
    """One prediction. `outputs` is empty unless `valid`."""

    gw: str
    stream: str
    epoch: str
    seq: int
    t: int | None
    m: int
    tq: str
    boot: str
    model: Model
    inputs: Inputs
    outputs: dict[str, Value | list[Value] | None]
    valid: bool
    trust: str
    latency_ms: float
    error: str = ""
    detail: dict[str, Any] | None = None


class RuleRef(_Part, frozen=True, kw_only=True):
    id: str
    sha256: str


class Decided(_Message, frozen=True, kw_only=True, tag="decision/1"):
    """A rule changed its state, with what it saw."""

    gw: str
    stream: str
    epoch: str
    seq: int
    t: int | None
    tq: str
    rule: RuleRef
    inputs: dict[str, Value | None]
    unknown: list[str]
    outcome: str
    action: dict[str, Any] | None
    overrides: list[str]
    m: int | None = None
    boot: str = ""
    branch: str = ""
    severity: str = ""
    rung: str = ""
    models: list[Model] = []


class Alerted(_Message, frozen=True, kw_only=True, tag="alert/1"):
    """An alert was raised, acknowledged or cleared."""

    gw: str
    stream: str
    epoch: str
    seq: int
    t: int | None
    tq: str
    alert_id: str
    dedupe_key: str
    state: str
    severity: str
    text: str = ""
    m: int | None = None
    boot: str = ""


class State(_Message, frozen=True, kw_only=True, tag="state/1"):
    """Birth, and death as the will. Retained; the epoch keeps a late death from marking a new life offline."""

    gw: str
    online: bool
    epoch: str
    start_no: int | None = None
    caps: list[str] = []
    schemas: dict[str, str] = {}
    reason: str = ""


class Health(_Message, frozen=True, kw_only=True, tag="health/1"):
    """How the gateway is. Retained; the sections' contents are for people."""

    gw: str
    epoch: str
    boot: str
    t: int | None
    m: int
    tq: str
    version: str
    uptime_s: float
    store: dict[str, Any] = {}
    system: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []


class Reject(_Part, frozen=True, kw_only=True):
    stream: str
    seq: int
    code: str


class Ack(_Message, frozen=True, kw_only=True, tag="ack/1"):
    """The backend holds `have`, and will never take what it rejects."""

    epoch: str
    have: Ranges = {}
    reject: list[Reject] = []


class Cmd(_Message, frozen=True, kw_only=True, tag="cmd/1"):
    """A command to one gateway. Signed, counted, expiring, never retained."""

    id: str
    gw: str
    name: str
    args: dict[str, Any]
    issued: int
    expires: int
    counter: int
    role: str
    reply: str
    sig: str


class CmdResult(_Message, frozen=True, kw_only=True, tag="cmd_result/1"):
    """`accepted`, `running`, `done`, `failed` or `refused`, with a code."""

    id: str
    state: str
    code: str
    t: int | None


LedgerMessage = GapMessage | Close | TimeFix
RowMessage = Tele | GapMessage | Close | TimeFix | Infer | Decided | Alerted
"""What an outbox row can hold."""
Message = RowMessage | State | Health | Ack | Cmd | CmdResult
