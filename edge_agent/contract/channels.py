"""Which message goes on which topic, who sends it, and how: QoS, retain, expiry. Everything is QoS 1."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edge_agent.contract import documents, messages, topics

QOS = 1
HEALTH_PERIOD_S = 30
ROW_TYPE, DOCUMENT_TYPE = "application/json+deflate", "application/json"
"""Content types: of what comes from the outbox, and of everything else."""


class Parameter(msgspec.Struct, frozen=True):
    """The last segment of a topic, where the kind has one."""

    name: str
    means: str


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """`key`: what identifies a message of it. `expiry_s`: how long the broker may keep it, None for ever."""

    kind: str
    carries: tuple[type[msgspec.Struct], ...]
    about: str
    key: str
    parameter: Parameter | None = None
    direction: Literal["up", "down"] = "up"
    expiry_s: int | None = None

    @property
    def retain(self) -> bool:
        return self.kind in topics.RETAINED

    @property
    def suffix(self) -> str:
        """`up/tele/{group}`: the topic below the gateway's."""
        path = (self.direction, self.kind)
        return "/".join((*path, f"{{{self.parameter.name}}}") if self.parameter else path)


_ROW_KEY = "(gw, epoch, stream, seq)"

CHANNELS = (
    Channel(
        kind=topics.TELE,
        parameter=Parameter("group", "Of streams that are sent together; `all` unless the site splits them."),
        carries=(messages.Tele,),
        about="Readings of all streams of one group in one commit.",
        key="(gw, epoch, stream, seq0 + i) of each reading",
    ),
    Channel(
        kind=topics.LEDGER,
        carries=(messages.GapMessage, messages.Close, messages.TimeFix),
        about="Declared losses, ends of epochs and corrected clocks.",
        key=_ROW_KEY,
    ),
    Channel(
        kind=topics.INFER,
        parameter=Parameter("lane", "The model's name in the site file."),
        carries=(messages.Infer,),
        about="Predictions of one model.",
        key=_ROW_KEY,
    ),
    Channel(
        kind=topics.DECISION,
        parameter=Parameter("rule", "The rule's id."),
        carries=(messages.Decided,),
        about="What one rule decided, with its evidence.",
        key=_ROW_KEY,
    ),
    Channel(kind=topics.ALERT, carries=(messages.Alerted,), about="Alerts, overtaking all else.", key=_ROW_KEY),
    Channel(
        kind=topics.STATE,
        carries=(messages.State,),
        about="Birth, death, and the will.",
        key="(gw); a death counts for its own epoch only",
    ),
    Channel(
        kind=topics.HEALTH,
        carries=(documents.Health,),
        about=f"How the gateway is, every {HEALTH_PERIOD_S} s.",
        key="(gw)",
        expiry_s=2 * HEALTH_PERIOD_S,
    ),
    Channel(kind=topics.REPORTED, carries=(documents.Reported,), about="What the gateway runs.", key="(gw)"),
    Channel(
        kind=topics.CMD,
        parameter=Parameter("id", "Of the command."),
        carries=(messages.CmdResult,),
        about="What became of a command.",
        key="(gw, id, state)",
        expiry_s=3600,
    ),
    Channel(
        kind=topics.ACK,
        direction="down",
        carries=(messages.Ack,),
        about="The backend holds these numbers. Sent after its commit.",
        key="(gw, epoch); idempotent, may be lost, may come in parts",
        expiry_s=3600,
    ),
    Channel(
        kind=topics.CMD,
        direction="down",
        parameter=Parameter("name", "Of the command, as in its body."),
        carries=(messages.Cmd,),
        about="A signed command. Never retained: a retained one is refused.",
        key="(gw, id)",
        expiry_s=300,
    ),
)
"""The whole contract. Reserved for later: up/drift, up/audit, up/media, down/desired."""

Message = (
    messages.RowMessage
    | messages.State
    | documents.Health
    | documents.Reported
    | messages.CmdResult
    | messages.Ack
    | messages.Cmd
)
"""Anything that is sent either way."""

UP_EXPIRY_S = {c.kind: c.expiry_s for c in CHANNELS if c.direction == "up"}
"""By kind of what the gateway publishes."""


def shape_of(message: type[msgspec.Struct]) -> str:
    """The name on the wire: `tele/1`."""
    return str(message.__struct_config__.tag)


def all_shapes() -> dict[str, type[Any]]:
    """By name on the wire: every message of the contract."""
    return {shape_of(message): message for channel in CHANNELS for message in channel.carries}
