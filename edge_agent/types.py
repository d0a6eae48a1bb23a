"""The nouns of the agent: readings, frames, predictions, and the events and effects of the engine.

All of them are frozen. Times named `mono_ns` are CLOCK_MONOTONIC of one boot; `wall_ns` is UTC since 1970.
"""

from __future__ import annotations

import enum

import msgspec

Value = float | int | bool | str


class ClockQuality(enum.IntEnum):
    """How far wall time can be trusted."""

    GUESSED = 0
    SYNCED = 1


class Quality(enum.IntEnum):
    """Quality of one field of one reading; rules see anything but GOOD as unknown."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """One instant, taken at the read: the same in every boot-local computation, re-datable afterwards."""

    mono_ns: int
    wall_ns: int
    quality: ClockQuality = ClockQuality.SYNCED
    boot: str = ""

    def age_ns(self, now: Stamp) -> int | None:
        """At `now`, never negative; None between two boots where not both wall clocks were right."""
        if self.boot == now.boot:
            return max(now.mono_ns - self.mono_ns, 0)
        if not (self.quality is now.quality is ClockQuality.SYNCED):
            return None
        return max(now.wall_ns - self.wall_ns, 0)


class Reading(msgspec.Struct, frozen=True, tag="reading"):
    """The fields of one stream at one instant. `values` holds None for a value that was not given.

    `quality` names only fields that are not GOOD. `cursor` is the device's own sample number, where it has one
    and wants it acknowledged after the commit.
    """

    stream: str
    stamp: Stamp
    values: dict[str, Value | None]
    quality: dict[str, Quality] | None = None
    cursor: int | None = None


class Image(msgspec.Struct, frozen=True, gc=False):
    """uint8 pixels, row-major (height, width, channels), in the geometry and colour order of one `ImageView`; of a
    planar one (channels, height, width)."""

    height: int
    width: int
    channels: int
    pixels: bytes
    scale: float = 1.0
    """Source pixels times `scale` (plus the offsets) give pixels of this image: undoes the geometry for boxes."""
    dx: int = 0
    dy: int = 0


class ImageView(msgspec.Struct, frozen=True, order=True):
    """The geometry and colour order a lane asks of a camera; done in the capture child, in uint8."""

    width: int
    height: int
    fit: str = "resize"
    """`resize` (stretch), `letterbox` (top left, padded), `letterbox_center`, or `none` (the source's own size)."""
    interpolation: str = "area"
    """`area`, `linear`, `nearest` or `cubic`."""
    color: str = "rgb"
    """`rgb`, `bgr` or `gray`."""
    pad: int = 114
    planar: bool = False
    """Channel after channel, not pixel after pixel."""


class Frame(msgspec.Struct, frozen=True):
    """One image with its instant. `images[i]` is the picture in the i-th view that was asked for at open."""

    source: str
    stamp: Stamp
    number: int
    images: tuple[Image, ...]


class SeqRange(msgspec.Struct, frozen=True, gc=False):
    """Readings of one stream that went into a prediction, both ends included."""

    stream: str
    epoch: str
    first: int
    last: int


class ModelRef(msgspec.Struct, frozen=True, gc=False):
    """Which model version spoke."""

    name: str
    version: str
    sha256: str


class Prediction(msgspec.Struct, frozen=True, tag="prediction"):
    """Output of one model version for one input. `outputs` is empty unless `valid`."""

    lane: str
    number: int
    """Of the input, dense per lane: a skipped input leaves a hole that is declared."""
    input_stamp: Stamp
    stamp: Stamp
    model: ModelRef
    valid: bool
    outputs: dict[str, Value | list[Value] | None]
    detail: dict[str, object] | None = None
    """What rules cannot see but people can: boxes, all class scores."""
    error: str = ""
    latency_ms: float = 0.0
    digest: str = ""
    """`sha256:…` of the input bytes."""
    refs: tuple[SeqRange, ...] = ()
    answered: bool = True
    """False: the model gave no output at all (it was late, or died), which says nothing of what it said before."""


class HealthChange(msgspec.Struct, frozen=True, tag="health"):
    """A part of the agent changed its state; rules see it as the signal `health.<part>`, true while it works."""

    part: str
    up: bool
    stamp: Stamp
    reason: str = ""
    alert: bool = False
    """People should hear of it."""
    severity: str = "warning"
    again: bool = False
    """It is raised already and became worse: they should hear of it once more."""


class LaneChange(msgspec.Struct, frozen=True, tag="lane"):
    """A lane's breaker or worker changed; moves the trust and the rung."""

    lane: str
    trust: str
    """`trusted`, `watch`, `degraded`, `quarantined` or `unavailable`."""
    stamp: Stamp
    reason: str = ""


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Readings that came but were shed before the engine could take them (`overload`) or that the device lost.

    `count` 0: nothing was lost, only the cursor is new. A loss of which nobody knows the end has the reason
    `device_reset_open` and the count 1: the one number stands for all of them.
    """

    stream: str
    count: int
    reason: str
    stamp: Stamp
    cursor: int | None = None
    """As `Reading.cursor`: where the device stands after the loss."""


class Receipt(msgspec.Struct, frozen=True, tag="receipt"):
    """What became of an action."""

    action_id: int
    actuator: str
    done: bool
    stamp: Stamp
    detail: str = ""
    read_back: Value | None = None
    superseded: bool = False
    """Not done because a newer action for the same target was waiting: no failure."""


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """Nothing happened, but a deadline passed."""

    stamp: Stamp


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A person or the backend asks something of the engine: `reset` a latched rule, `hold` it, `ack` an alert;
    or did what the log must show (`mcu_set`)."""

    name: str
    args: dict[str, Value]
    by: str
    stamp: Stamp
    id: str = ""


Event = Reading | Prediction | HealthChange | LaneChange | Lost | Receipt | Tick | Command


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Keep this reading under this number."""

    seq: int
    reading: Reading


class RecordPrediction(msgspec.Struct, frozen=True, tag="record_prediction"):
    """Keep this prediction under this number of the stream `infer-<lane>`."""

    seq: int
    prediction: Prediction
    trust: str


class Act(msgspec.Struct, frozen=True, tag="act"):
    """Command an actuator; the decision that caused it is committed beside it, not before it."""

    id: int
    actuator: str
    target: str
    """What is set, `relay` in `press.relay`; the part after the actuator's name."""
    value: Value
    rule: str
    stamp: Stamp


class Infer(msgspec.Struct, frozen=True, tag="infer"):
    """A full window of fields for a lane: float32, little-endian, shape (channels, window)."""

    lane: str
    number: int
    stamp: Stamp
    window: bytes
    shape: tuple[int, ...]
    refs: tuple[SeqRange, ...] = ()


class Decision(msgspec.Struct, frozen=True, tag="decision"):
    """A rule changed its state; the evidence that `explain` needs."""

    seq: int
    rule: str
    rule_sha256: str
    outcome: str
    """`raised`, `cleared`, `unknown`, `known`, `acted` (an action's receipt), `held`, `released` or `reset` by a
    person, `restored` (raised before a restart, and still)."""
    branch: str
    """`when`, `clear`, `otherwise` or empty: which expression decided."""
    inputs: dict[str, Value | None]
    unknown: tuple[str, ...]
    severity: str
    stamp: Stamp
    action: dict[str, object] | None = None
    overrides: tuple[str, ...] = ()
    rung: str = "full"
    models: tuple[ModelRef, ...] = ()


class Alert(msgspec.Struct, frozen=True, tag="alert"):
    """A decision people see: `raised`, `ack` or `cleared`."""

    seq: int
    alert_id: str
    dedupe_key: str
    state: str
    severity: str
    text: str
    stamp: Stamp


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """A range of numbers that will not come, both ends included, with the reason.

    `last` before `first`: no number, only the cursor, which is committed with what was numbered before it.
    """

    stream: str
    epoch: str
    first: int
    last: int
    reason: str
    stamp: Stamp
    cursor: int | None = None


Effect = Record | RecordPrediction | Act | Infer | Decision | Alert | Gap

GAP_REASONS = (
    "quota", "thinned", "overload", "corrupt", "expired", "operator", "rejected", "device", "device_reset",
    "device_reset_open", "other",
)  # fmt: skip
