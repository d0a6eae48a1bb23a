"""Site files for tests, and drivers that are configuration types and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.load import Examined, examine_site
from edge_agent.config.problems import Problem
from edge_agent.config.site import Duration
from edge_agent.errors import Retryable


class Serial(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 115_200
    format: Literal["ndjson", "csv", "nmea"] = "ndjson"
    values: dict[str, str] = {}
    idle: Duration | None = None

    def __post_init__(self) -> None:
        if self.format == "nmea" and not self.values:
            raise ValueError("nmea needs values")


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    fps: Annotated[float, Meta(gt=0, le=240)] | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: Literal["info", "warning"] | Literal["silent"] = "info"
    every: Literal["max"] | Annotated[float, Meta(ge=1)] = 1.0


class FakeDrivers(Mapping[tuple[str, str], type[msgspec.Struct]]):
    """Counts what is looked up: a driver that no site names must not be imported."""

    def __init__(self) -> None:
        self.looked_up: list[tuple[str, str]] = []
        self._types: dict[tuple[str, str], type[msgspec.Struct]] = {
            ("source", "serial_lines"): Serial,
            ("source", "camera"): Camera,
            ("actuator", "log"): Log,
        }

    def __getitem__(self, key: tuple[str, str]) -> type[msgspec.Struct]:
        self.looked_up.append(key)
        if key == ("source", "broken"):
            raise Retryable("no such chip", hint="buy one")
        if key == ("source", "extra"):
            raise ModuleNotFoundError("No module named 'pymodbus'", name="pymodbus")
        return self._types[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([*self._types, ("source", "broken"), ("source", "extra")])

    def __len__(self) -> int:
        return len(self._types) + 2


GOOD = """\
[agent]
gateway = "gw-1"

[[source]]
name = "motor"
kind = "serial_lines"
device = "/dev/ttyUSB0"
fields.temp = { unit = "Cel", min = -40, max = 200 }
fields.rpm = {}

[[source]]
name = "meter"
kind = "camera"
url = "http://camera.example/mjpeg"

[[signal]]
name = "motor.temp_5m"
of = "motor.temp"
fn = "mean"
window = "5m"

[[rule]]
id = "overheat"
when = "motor.temp_5m > 85"
for = "10s"
actions = [{ set = "press.relay", value = 0 }]

[[actuator]]
name = "press"
kind = "log"
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "site.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o640)
    return path


def examine(folder: Path, text: str | bytes) -> Examined:
    return examine_site(write(folder, text), FakeDrivers())


def only(examined: Examined) -> Problem:
    """The problem, where there is one."""
    assert len(examined.problems) == 1, [str(problem) for problem in examined.problems]
    return examined.problems[0]
