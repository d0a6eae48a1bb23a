"""The leaves of the message shapes: what each kind of value means, and what it may be.

Numbers that order or count are held to their bounds when a message is read. Words are held to their lists only by
the published schemas: a reader takes a word that it does not know for `other`, so that nothing is lost on a newer
sender.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from edge_agent.types import GAP_REASONS


def _text(what: str, **limits: Any) -> Meta:
    return Meta(description=what, extra_json_schema=limits)


def _one_of(what: str, *words: str) -> Meta:
    """What comes later within the major is sent as `other`, with its own word in a field that is added for it."""
    return Meta(description=what, extra_json_schema={"enum": list(dict.fromkeys((*words, "other")))})


_ULID = r"^[0-9A-HJKMNP-TV-Z]{26}$"
_SHA256 = r"^[0-9a-f]{64}$"
_SCHEMA_NAME = r"^[a-z][a-z0-9_]*/[0-9]+$"

# who, and which numbers

GatewayId = Annotated[str, _text("The gateway, as in the topic.", pattern=r"^[a-z0-9_-]{1,64}$")]
TopicName = Annotated[str, _text("A tenant or a site, as in the topic.", pattern=r"^[a-z0-9_-]{1,64}$")]
StreamId = Annotated[
    str, _text("The stream that the number is of. Streams beside telemetry have reserved names: `ledger`, "
               "`decision`, `alert`, `infer-<lane>`.", minLength=1, maxLength=128),
]  # fmt: skip
Epoch = Annotated[
    str, _text("One start of the agent: a ULID, opaque, since the clock may have been wrong. Order epochs by "
               "`start_no`.", pattern=_ULID),
]  # fmt: skip
Seq = Annotated[int, Meta(ge=0, description="Number in (gateway, stream, epoch): dense from 0, never used again.")]
StartNo = Annotated[int, Meta(ge=0, description="How often this gateway has started: orders its epochs.")]

# when

UtcMs = Annotated[int, Meta(description="UTC in milliseconds since 1970; null where it is not known.")]
MonoMs = Annotated[int, _text("Monotonic milliseconds since the boot that `boot` names.", minimum=0)]
BootId = Annotated[str, _text("The boot that monotonic times belong to.", pattern=r"^[0-9A-Za-z_.-]{1,64}$")]
TimeQuality = Annotated[
    str, _one_of("Whether the wall clock was vouched for. Where it says anything but `synced`, a `time_fix` of this "
                 "boot corrects the time.", "synced", "guessed"),
]  # fmt: skip

# what

Sha256 = Annotated[str, _text("SHA-256 in hex.", pattern=_SHA256)]
Digest = Annotated[
    str, _text("`sha256:` and the hex digest; empty where there is none.", pattern=r"^(sha256:[0-9a-f]{64})?$"),
]  # fmt: skip
Crc32 = Annotated[str, _text("CRC-32 of the segment's own text before `,\"h\"`, in hex.", pattern=r"^[0-9a-f]{8}$")]
Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, _text("A name of the site file.", minLength=1, maxLength=128)]
Unit = Annotated[str, _text("The unit, in UCUM.", maxLength=64)]
QualityCode = Annotated[
    int, Meta(description="0 good, 1 uncertain, 2 bad; another one of a later version is not good.", ge=0),
]  # fmt: skip
GapReason = Annotated[
    str, _one_of("Why the numbers will not come. `device_reset_open`: a device lost samples and nobody knows how "
                 "many, this one number stands for all of them.", *GAP_REASONS),
]  # fmt: skip
Trust = Annotated[
    str, _one_of("How far the model was trusted.", "trusted", "watch", "degraded", "quarantined", "unavailable"),
]  # fmt: skip
Rung = Annotated[
    str, _one_of("Where the agent stood on the degradation ladder.",
                 "full", "last-good", "previous-version", "rules-only", "safe-state"),
]  # fmt: skip
Severity = Annotated[str, _one_of("How bad it is.", "info", "warning", "critical")]
Outcome = Annotated[
    str, _one_of("What became of the rule: its state changed (`raised`, `cleared`, `reset`, `unknown`, `known`), an "
                 "action came to an end (`acted`), a person held or released it, or it was raised before a restart "
                 "and still is (`restored`).",
                 "raised", "cleared", "reset", "unknown", "known", "acted", "held", "released", "restored"),
]  # fmt: skip
Branch = Annotated[str, _one_of("The expression that decided.", "when", "clear", "otherwise")]
AlertState = Annotated[str, _one_of("What happened to the alert.", "raised", "ack", "cleared")]
CommandState = Annotated[
    str, _one_of("How far the command is.", "accepted", "running", "done", "failed", "refused"),
]  # fmt: skip
DeathReason = Annotated[
    str, _one_of("Why it is offline: `stopped` on purpose, `lost` when the broker had to say it.", "stopped", "lost"),
]  # fmt: skip
Capability = Annotated[
    str, _text("`deflate`: rows are zlib-deflated JSON. `ack`: `down/ack` is heeded. Readers pass over words that "
               "they do not know.", pattern=r"^[a-z][a-z0-9_-]*$"),
]  # fmt: skip
RejectCode = Annotated[
    str, _text("Why, for programs: `schema`, `too_old`.", pattern=r"^[A-Za-z0-9_.:-]{1,64}$"),
]  # fmt: skip
CommandId = Annotated[str, _text("A ULID: a repeat of it returns the stored result.", pattern=_ULID)]
SchemaHashes = Annotated[
    dict[
        Annotated[str, _text("A shape and its major.", pattern=_SCHEMA_NAME)],
        Annotated[str, _text("SHA-256 of its published schema file.", pattern=r"^sha256:[0-9a-f]{64}$")],
    ],
    Meta(description="By shape: the hash of the schema file that this agent was built with."),
]
