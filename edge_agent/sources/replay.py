"""`kind = "replay"`: a captured file as if its readings came in again: in real time, N times as fast, or at once.

CSV with a header, or one JSON object a line. Event time is the file's: readings are as far apart on monotonic time
as in the file, so windows and rules see what they would have seen then; wall time is what the file says. The source
ends with the file. A line that cannot be read is counted by its reason, kept in the quarantine with its number, and
skipped: `too_long`, `encoding`, `no_header`, `cell_count`, `cell`, `json`, `time`, `field_name`,
`too_many_fields`, `int_range`, `text_length`, `value_type`, `no_value`.

    [[source]]
    name = "machine"
    kind = "replay"
    path = "machine_temperature.csv"
    time = "timestamp"                # or: interval = "100ms", for a file without times
    columns = { value = "temp" }      # field by column; without it every column under its own name
    speed = "max"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration
from edge_agent.durations import parse_duration
from edge_agent.errors import EndOfInput, Rejected, Retryable
from edge_agent.ports import Context
from edge_agent.sources.csv_lines import CsvLines
from edge_agent.sources.file_time import TimeFormat, time_parser
from edge_agent.sources.ndjson import decode_object
from edge_agent.sources.pacing import Pace, Speed
from edge_agent.sources.replay_rows import Decoder, Intervals, Row, Rows, Times
from edge_agent.types import ClockQuality, Reading, Stamp

_BATCH = 256


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: str
    format: Literal["csv", "ndjson"] = "csv"
    time: str | None = None
    """The column that holds the time."""
    time_format: TimeFormat = "iso"
    """`iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a pattern such as "%d.%m.%Y %H:%M:%S". A time
    without a zone is UTC."""
    interval: Duration | None = None
    """Instead of `time`: the readings are this far apart, from now on."""
    columns: dict[str, str] = {}
    """Field by column; without it every column is a field."""
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    speed: Speed = 1.0

    def __post_init__(self) -> None:
        if (self.time is None) == (self.interval is None):
            raise ValueError("give time (a column) or interval, and not both")


def open(config: Config, context: Context) -> Replay:  # noqa: A001 - what every driver offers
    """Raises Retryable when the file cannot be opened."""
    try:
        stream = Path(config.path).open("rb")  # noqa: SIM115 - the source closes it
    except OSError as e:
        raise Retryable(f"{config.path}: {e.strerror}", hint="correct the path, or make the file readable") from e
    return Replay(config, context, stream)


class Replay:
    """ports.Source. Reads the file as it goes; no more than one batch is in memory."""

    def __init__(self, config: Config, context: Context, stream: BinaryIO) -> None:
        self._path = config.path
        self._name = context.name
        self._counters = context.counters
        self._stream = stream
        self._pace = Pace(context.clock, config.speed)
        self._rows = Rows(stream, _decoder(config, context), _times(config), config.columns)
        self._next: Row | None = None

    def read(self, timeout_s: float) -> Sequence[Reading]:
        """At most 256 lines are looked at in one call."""
        if self._next is not None:
            self._pace.wait(self._next.event_ns, timeout_s)
        readings: list[Reading] = []
        for _ in range(_BATCH):
            row = self._next = self._next or self._take_row()
            if row is None:
                if self._rows.ended:
                    break
            elif self._pace.reached(row.event_ns):
                readings.append(self._reading(row))
                self._next = None
            else:
                break
        if self._rows.ended and not readings and self._next is None:
            raise EndOfInput(f"{self._path}: all {self._rows.line} lines read")
        return readings

    def close(self) -> None:
        self._pace.close()
        self._stream.close()

    def _take_row(self) -> Row | None:
        rows = self._rows
        try:
            return rows.next()
        except Rejected as e:
            self._counters.quarantine(e.message, b"line %d: %b" % (rows.line, e.item))
            return None
        except OSError as e:
            # to open it again would be to give its readings twice, under new numbers
            raise EndOfInput(f"{self._path}:{rows.line}: {e.strerror}") from e

    def _reading(self, row: Row) -> Reading:
        if row.wall_ns is None:
            stamp = self._pace.stamp(row.event_ns)
        else:
            start = self._pace.start
            stamp = Stamp(start.mono_ns + row.event_ns, row.wall_ns, ClockQuality.SYNCED, start.boot)
        return Reading(self._name, stamp, row.values, row.quality)


def _decoder(config: Config, context: Context) -> Decoder:
    if config.format == "ndjson":
        return decode_object

    def kind_of(column: str) -> str:
        if column == config.time:
            return "string"
        if config.columns and column not in config.columns:
            return "string"  # nobody reads it, so nothing in it is wrong
        spec = context.fields.get(config.columns.get(column, column))
        return spec.type if spec is not None else "double"

    return CsvLines((), config.delimiter, kind_of, midway=False).decode


def _times(config: Config) -> Times | Intervals:
    if config.time is not None:
        return Times(config.time, time_parser(config.time_format))
    return Intervals(parse_duration(config.interval or "0s"))
