"""The manifest of a model package: what a directory `models/<name>/<version>/` says of itself in `manifest.toml`.

Every key, by example; those marked (optional) may be left out:

    format = 1
    name = "motor-anomaly"            # lower case letters, digits and -
    version = "1.0.0"
    license = "Apache-2.0"
    description = "..."               # (optional) one line for people
    runtime = "onnx"                  # or "litert"
    model = "model.onnx"              # which of the files is the model
    deadline_ms = 200                 # an answer later than this is no answer: the worker is killed
    policy = "every"                  # "latest": the newest input replaces older ones; "every": a bounded queue
    threads = 1                       # (optional) intra-op threads

    [[files]]                         # every file that the package uses, this one apart
    path = "model.onnx"               # inside the directory, no links
    size = 48700                      # bytes
    sha256 = "9f86d08..."             # 64 hex digits

    [input]
    kind = "window"                   # a window of fields ...
    channels = 4
    length = 64                       # readings
    stride = 16                       # a new window every so many readings
    layout = "ncl"                    # order in the tensor: "ncl" (channel after channel) or "nlc" (reading after ..)
    dtype = "float32"                 # of the model's tensor: float32, int8, uint8, int16 or int32
    shape = [1, 4, 64]                # of the model's tensor, the first dimension is 1; its product fits the input
    tensor = "x"                      # (optional) its name, checked; a model has one input
    scale = 1.0                       # (optional) x = clip((raw * scale - mean) / std); mean and std: one number for
    mean = [79.4, 1.0, 0.0, 0.0]      # (optional) all channels, or one a channel, in the order of the colours or
    std = [9.3, 1.0, 1.0, 1.0]        # (optional) of the fields
    clip = [-6.0, 4.0]                # (optional)
    quantization = [0.0039, -128]     # (optional) scale and zero point of an integer tensor: q = x / scale + zero;
                                      # LiteRT models carry their own, an ONNX model with integer input needs it here

    [input]
    kind = "image"                    # ... or a picture: uint8 0..255 before `scale`
    view = { width = 416, height = 416, fit = "letterbox", interpolation = "linear", color = "bgr", pad = 114 }
    layout = "nchw"                   # or "nhwc"
    dtype = "float32"
    shape = [1, 3, 416, 416]
    # tensor, scale, mean, std, clip, quantization: as above

    [output]
    kind = "reconstruction_error"     # see `outputs.py` for the kinds and the signals they give
    shape = [1, 4, 64]                # of the model's tensor
    dtype = "float32"
    tensor = "y"                      # (optional) its name; needed where the model has several
    quantization = [0.0039, -128]     # (optional) as for the input
    threshold = 0.8                   # (a key of this kind)

    [plausible]                       # (optional) least and most of a numeric output; outside: prediction invalid
    score = [0.0, 100.0]

    [heldout]                         # (optional) free: figures on data that training never saw
    auc = 0.97

This file imports no numpy: the agent's main process loads manifests.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.errors import Rejected
from edge_agent.inference.outputs import Output
from edge_agent.inference.tensor_spec import Strict, TensorSpec
from edge_agent.types import ImageView

PackageName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,47}$", description="lower case letters, digits and -")]
Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,31}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="64 hex digits")]
Pixels = Annotated[int, Meta(ge=1, le=8192)]


class ManifestError(Rejected):
    """The package cannot be used. `place` is the file and the key or line that is wrong."""

    def __init__(self, place: str, reason: str, *, hint: str) -> None:
        super().__init__(f"{place}: {reason}", hint=hint)
        self.place = place


class PackageFile(Strict, frozen=True, kw_only=True):
    path: Annotated[str, Meta(min_length=1, max_length=200)]
    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256


class View(Strict, frozen=True, kw_only=True):
    """The fields of `types.ImageView`, checked."""

    width: Pixels
    height: Pixels
    fit: Literal["resize", "letterbox", "letterbox_center"] = "resize"
    interpolation: Literal["area", "linear", "nearest", "cubic"] = "area"
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    pad: Annotated[int, Meta(ge=0, le=255)] = 114

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3


class _Input(TensorSpec, frozen=True, kw_only=True):
    scale: float = 1.0
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    clip: tuple[float, float] | None = None


class ImageInput(_Input, frozen=True, kw_only=True, tag="image", tag_field="kind"):
    """uint8 (height, width, channels) as the view gives it, for `nchw` (channels, height, width)."""

    view: View
    layout: Literal["nchw", "nhwc"]

    @property
    def channels(self) -> int:
        return self.view.channels

    @property
    def length(self) -> int:
        return self.view.width * self.view.height

    def image_view(self) -> ImageView:
        """What this input asks of a camera. Planes are made there, where it costs least."""
        v = self.view
        return ImageView(v.width, v.height, v.fit, v.interpolation, v.color, v.pad, self.layout == "nchw")

    @property
    def raw_bytes(self) -> int:
        """Of one input as the worker gets it."""
        return self.channels * self.length


class WindowInput(_Input, frozen=True, kw_only=True, tag="window", tag_field="kind"):
    """float32 (channels, length), oldest reading first."""

    channels: Annotated[int, Meta(ge=1, le=256)]
    length: Annotated[int, Meta(ge=1, le=1_000_000)]
    stride: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    layout: Literal["ncl", "nlc"] = "ncl"

    @property
    def raw_bytes(self) -> int:
        return 4 * self.channels * self.length


class Manifest(Strict, frozen=True, kw_only=True):
    """What a package says of itself. `package.load_package` reads and checks it."""

    format: Literal[1]
    name: PackageName
    version: Version
    license: Annotated[str, Meta(min_length=1, max_length=100)]
    runtime: Literal["onnx", "litert"]
    model: str
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)]
    policy: Literal["latest", "every"]
    files: Annotated[tuple[PackageFile, ...], Meta(min_length=1, max_length=256)]
    input: ImageInput | WindowInput
    output: Output
    description: Annotated[str, Meta(max_length=200)] = ""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    plausible: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    heldout: dict[str, object] = msgspec.field(default_factory=dict)


def output_types(manifest: Manifest) -> dict[str, str]:
    """What rules can see of a prediction: output name to `double`, `int`, `bool` or `string`."""
    return manifest.output.types()
