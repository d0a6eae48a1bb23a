"""Shapes of the messages, version 1. What is written here is the contract; field order is the order on the wire.

Within a major only optional fields are added, and readers ignore fields they do not know. Times are UTC
milliseconds (`t`), monotonic milliseconds of the boot (`m`), and the quality of the first (`tq`).
The JSON Schema files and the AsyncAPI document in `published/` are generated from here by `scripts/contract`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from edge_agent.contract import terms
from edge_agent.types import Value

Ranges = dict[terms.StreamId, tuple[tuple[terms.Seq, terms.Seq], ...]]
"""By stream: ranges of numbers, both ends included, ascending."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", omit_defaults=True):
    """`schema` names the shape and its major; a field that has its default is left out."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A piece of a message."""


class Channel(_Part, frozen=True, kw_only=True):
    """Values of one field. `q` has a Quality per value and is left out when all are good; `u` is UCUM."""

    u: terms.Unit = ""
    x: Annotated[list[Value | None], Meta(description="One value a reading; null where there was none.")]
    q: list[terms.QualityCode] | None = None


class Segment(_Part, frozen=True, kw_only=True):
    """`n` readings of one stream; reading i has the number `seq0 + i`.

    `dt[0]` is the offset from the row's base time, every later one the difference to the reading before, in ms.
    `h` is the CRC-32 of the segment's own text before `,"h"`, in hex: the base time is not in it.
    """

    stream: terms.StreamId
    seq0: terms.Seq
    n: Annotated[int, Meta(ge=1, description="How many readings, and how long `dt` and every column are.")]
    dt: Annotated[list[int], Meta(min_length=1, description="Milliseconds, each from the reading before it.")]
    ch: dict[terms.Name, Channel]
    h: terms.Crc32


class Tele(_Message, frozen=True, kw_only=True, tag="tele/1"):
    """Readings of all streams of one group in one commit; `t0` and `m0` are the same instant."""

    gw: terms.GatewayId
    epoch: terms.Epoch
    boot: terms.BootId
    t0: terms.UtcMs | None
    m0: terms.MonoMs
    tq: terms.TimeQuality
    seg: Annotated[list[Segment], Meta(min_length=1)]


class GapRange(_Part, frozen=True, kw_only=True):
    """Numbers of a stream that will not come, both ends included."""

    stream: terms.StreamId
    epoch: terms.Epoch
    from_: terms.Seq = field(name="from")
    to: terms.Seq
    reason: terms.GapReason


class GapRanges(_Part, frozen=True, kw_only=True):
    """The same for many streams of one epoch that lost numbers for one reason."""

    epoch: terms.Epoch
    reason: terms.GapReason
    lost: Ranges


class GapMessage(_Message, frozen=True, kw_only=True, tag="gap/1"):
    """One range in `gap`, or many in `gaps`."""

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    gap: GapRange | None = None
    gaps: GapRanges | None = None


class Close(_Message, frozen=True, kw_only=True, tag="close/1"):
    """The last number of each stream of an epoch that has ended.

    With `lost`, the store of that epoch could not be read: `last` is then only what is known to have been reached.
    """

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    closed: terms.Epoch
    last: dict[terms.StreamId, terms.Seq]
    lost: Annotated[str, Meta(description="Why the store of that epoch could not be read.")] = ""


class TimeFix(_Message, frozen=True, kw_only=True, tag="time_fix/1"):
    """UTC of that boot is its monotonic time plus `offset_ms`. It holds for all rows of the boot whose `tq` is not
    `synced`, sent before it or after it, and the newest of a boot counts."""

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    boot: terms.BootId
    offset_ms: Annotated[int, Meta(description="UTC minus monotonic time, in milliseconds.")]
    uncertainty_ms: terms.Count


class Model(_Part, frozen=True, kw_only=True):
    """Which model version spoke."""

    name: Annotated[str, Meta(description="Of the model package.")]
    version: str
    sha256: terms.Sha256


class Ref(_Part, frozen=True, kw_only=True):
    """Readings that went into a prediction, both ends included."""

    stream: terms.StreamId
    epoch: terms.Epoch
    from_: terms.Seq = field(name="from")
    to: terms.Seq


class Inputs(_Part, frozen=True, kw_only=True):
    """What was predicted from: the digest of the input, the readings in it, its number and instant."""

    digest: terms.Digest
    refs: list[Ref]
    number: terms.Count | None = None
    t: terms.UtcMs | None = None
    m: terms.MonoMs | None = None


class Infer(_Message, frozen=True, kw_only=True, tag="infer/1"):
    """One prediction. `outputs` is empty unless `valid`."""

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    t: terms.UtcMs | None
    m: terms.MonoMs
    tq: terms.TimeQuality
    boot: terms.BootId
    model: Model
    inputs: Inputs
    outputs: Annotated[
        dict[terms.Name, Value | list[Value] | None], Meta(description="What rules see, by the model's output names.")
    ]
    valid: bool
    trust: terms.Trust
    latency_ms: Annotated[float, Meta(ge=0)]
    error: Annotated[str, Meta(description="Why it is not valid.")] = ""
    detail: Annotated[dict[str, Any], Meta(description="For people: boxes, all class scores.")] | None = None


class RuleRef(_Part, frozen=True, kw_only=True):
    id: terms.Name
    sha256: terms.Sha256


class Decided(_Message, frozen=True, kw_only=True, tag="decision/1"):
    """A rule changed its state, with what it saw."""

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    t: terms.UtcMs | None
    tq: terms.TimeQuality
    rule: RuleRef
    inputs: Annotated[dict[str, Value | None], Meta(description="Every signal of the rule; null for unknown.")]
    unknown: Annotated[list[str], Meta(description="The signals that were unknown.")]
    outcome: terms.Outcome
    action: Annotated[
        dict[str, Any], Meta(description="What was commanded, or `all` for several, and the `result` so far.")
    ] | None  # fmt: skip
    overrides: Annotated[list[str], Meta(description="Holds of people that were in force: who, why, until when.")]
    m: terms.MonoMs | None = None
    boot: terms.BootId = ""
    branch: terms.Branch = ""
    severity: terms.Severity = ""
    rung: terms.Rung = ""
    models: Annotated[list[Model], Meta(description="The models that the rule reads.")] = []


class Alerted(_Message, frozen=True, kw_only=True, tag="alert/1"):
    """An alert was raised, acknowledged or cleared."""

    gw: terms.GatewayId
    stream: terms.StreamId
    epoch: terms.Epoch
    seq: terms.Seq
    t: terms.UtcMs | None
    tq: terms.TimeQuality
    alert_id: Annotated[str, Meta(description="The same from raised to cleared.")]
    dedupe_key: Annotated[str, Meta(description="The same for every alert of the same trouble.")]
    state: terms.AlertState
    severity: terms.Severity
    text: Annotated[str, Meta(description="For people.")] = ""
    m: terms.MonoMs | None = None
    boot: terms.BootId = ""


class State(_Message, frozen=True, kw_only=True, tag="state/1"):
    """Birth, and death as the will. Retained; the epoch keeps a late death from marking a new life offline."""

    gw: terms.GatewayId
    online: bool
    epoch: terms.Epoch
    start_no: terms.StartNo | None = None
    caps: Annotated[list[terms.Capability], Meta(description="What this agent can do, at birth.")] = []
    schemas: terms.SchemaHashes = {}
    reason: terms.DeathReason = ""


class Reject(_Part, frozen=True, kw_only=True):
    """A number that the backend will never take: its row goes to the gateway's dead letters."""

    stream: terms.StreamId
    seq: terms.Seq
    code: terms.RejectCode


class Ack(_Message, frozen=True, kw_only=True, tag="ack/1"):
    """The backend holds `have`, and will never take what it rejects. It may say so in parts, and again."""

    epoch: terms.Epoch
    have: Ranges = {}
    reject: list[Reject] = []


class Cmd(_Message, frozen=True, kw_only=True, tag="cmd/1"):
    """A command to one gateway. Signed, counted, expiring, never retained.

    `sig` is the last field and covers every byte of the text before `,"sig"`.
    """

    id: terms.CommandId
    gw: terms.GatewayId
    tenant: terms.TopicName = "default"
    site: terms.TopicName = "default"
    name: Annotated[str, Meta(description="What to do; in the topic with `-` for every dot.")]
    args: dict[str, Any]
    issued: terms.UtcMs
    expires: terms.UtcMs
    counter: Annotated[int, Meta(ge=0, description="Grows with every command that a key signs.")]
    role: Annotated[str, Meta(description="In whose name: decides which key must have signed, and what is allowed.")]
    reply: Annotated[str, Meta(description="Where the result goes, under the gateway's topic: `up/cmd`.")]
    sig: Annotated[str, Meta(description="`ed25519:` and the signature of the text before `,\"sig\"`, in base64.")]


class CmdResult(_Message, frozen=True, kw_only=True, tag="cmd_result/1"):
    """How far a command is, with a code for programs."""

    id: terms.CommandId
    state: terms.CommandState
    code: Annotated[str, Meta(description="Empty while nothing is to be said.")]
    t: terms.UtcMs | None
    why: Annotated[str, Meta(description="For people; only to who signed the command.")] = ""


LedgerMessage = GapMessage | Close | TimeFix
RowMessage = Tele | GapMessage | Close | TimeFix | Infer | Decided | Alerted
"""What an outbox row can hold."""
