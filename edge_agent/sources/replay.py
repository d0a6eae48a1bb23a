"""`kind = "replay"`: a captured file as if its readings came in again: in real time, N times as fast, or at once.

CSV with a header, one JSON object a line, or NMEA 0183 sentences. Event time is the file's: readings are as far
apart on monotonic time as in the file, so windows and rules see what they would have seen then; wall time is what
the file says. The source ends with the file. A line that cannot be read is counted by its reason, kept in the
quarantine with its number, and skipped: `too_long`, `time`, and the reasons of `serial_lines`. Lines that start
with `#` are notes.

    [[source]]
    name = "machine"
    kind = "replay"
    path = "machine_temperature.csv"
    time = "timestamp"                # or: interval = "100ms", for a file without times
    values = { temp = "value" }       # field: the file's name for it; without it all, under their own names
    speed = "max"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration, FilePath, Name
from edge_agent.durations import parse_duration
from edge_agent.errors import EndOfInput, Rejected, Retryable
from edge_agent.links.lines import checker
from edge_agent.ports import Context, FieldSpec
from edge_agent.sources.csv_lines import CsvLines
from edge_agent.sources.file_time import TimeFormat, time_parser
from edge_agent.sources.line_readings import LineReadings
from edge_agent.sources.ndjson import decode_object
from edge_agent.sources.nmea import Nmea, kind_of, place_problem
from edge_agent.sources.pacing import Pace, Speed
from edge_agent.sources.replay_rows import Decoder, Intervals, Row, Rows, Times
from edge_agent.types import ClockQuality, Reading, Stamp

_BATCH = 256


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `replay` source."""

    path: FilePath
    """The captured file."""
    format: Literal["csv", "ndjson", "nmea"] = "csv"
    """How a line is written."""
    time: str | None = None
    """csv, ndjson: the file's name for the time of a line."""
    time_format: TimeFormat = "iso"
    """`iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a pattern such as "%d.%m.%Y %H:%M:%S". A time
    without a zone is UTC."""
    interval: Duration | None = None
    """Instead of `time`: the readings are this far apart, from now on."""
    values: dict[Name, str] = {}
    """Field: the file's name for it. Empty: all, under their own names. nmea: field: place, as "DPT.depth"."""
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    """csv: what stands between two cells."""
    speed: Speed = 1.0
    """1 is real time, 10 ten times as fast, "max" as fast as the agent takes it."""

    def __post_init__(self) -> None:
        if (self.time is None) == (self.interval is None):
            raise ValueError("give time (the file's name for it) or interval, and not both")
        if self.format != "nmea":
            return
        if self.interval is None or not self.values:
            raise ValueError('nmea needs interval, and values such as { depth = "DPT.depth" }')
        if problem := "; ".join(filter(None, map(place_problem, self.values.values()))):
            raise ValueError(problem)


def fields(config: Config) -> dict[str, FieldSpec]:
    """An NMEA sentence fixes the types of its fields; the other formats leave that to the site file."""
    if config.format != "nmea":
        return {}
    return {field: FieldSpec(type=kind_of(place)) for field, place in config.values.items()}


def open(config: Config, context: Context) -> Replay:  # noqa: A001 - the seam's name
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
        self._counters = context.counters
        self._stream = stream
        self._pace = Pace(context.clock, config.speed)
        self._rows = Rows(stream, _decoder(config, context), _times(config))
        values = {} if config.format == "nmea" else config.values
        self._readings = LineReadings(context.name, context.counters, values=values)
        self._next: Row | None = None

    def read(self, timeout_s: float) -> Sequence[Reading]:
        """At most 256 lines are looked at in one call."""
        if self._next is not None:
            self._pace.wait(self._next.event_ns, timeout_s)
        readings: list[Reading] = []
        for _ in range(_BATCH):
            self._next = self._next or self._take_row()
            if self._rows.ended and self._next is None:
                return self._end(readings)
            if self._next is None:
                continue
            if not self._pace.reached(self._next.event_ns):
                break
            readings.extend(self._take_readings(self._next))
            self._next = None
        return readings

    def close(self) -> None:
        self._pace.close()
        self._stream.close()

    def _end(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        if not readings:
            raise EndOfInput(f"{self._path}: all {self._rows.line} lines read")
        return readings

    def _take_row(self) -> Row | None:
        rows = self._rows
        try:
            return rows.next()
        except Rejected as e:
            self._counters.quarantine(e.message, b"line %d: %b" % (rows.line, rows.content))
            return None
        except OSError as e:
            # to open it again would be to give its readings twice, under new numbers
            raise EndOfInput(f"{self._path}:{rows.line}: {e.strerror}") from e

    def _take_readings(self, row: Row) -> Sequence[Reading]:
        try:
            reading = self._readings.make(row.said, self._stamp(row))
        except Rejected as e:
            self._counters.quarantine(e.message, b"line %d: %b" % (row.line, repr(row.said).encode()))
            return ()
        if reading is None:
            self._counters.count("other_lines")
            return ()
        return (reading,)

    def _stamp(self, row: Row) -> Stamp:
        if row.wall_ns is None:
            return self._pace.stamp(row.event_ns)
        start = self._pace.start
        return Stamp(start.mono_ns + row.event_ns, row.wall_ns, ClockQuality.SYNCED, start.boot)


def _decoder(config: Config, context: Context) -> Decoder:
    if config.format == "ndjson":
        return decode_object
    if config.format == "nmea":
        body_of, sentence = checker("xor"), Nmea(config.values).decode
        return lambda line: sentence(body_of(line))
    ours = {theirs: field for field, theirs in config.values.items()}

    def column_kind(column: str) -> str:
        if column == config.time or (ours and column not in ours):
            return "string"  # a cell that nobody reads cannot be wrong
        spec = context.fields.get(ours.get(column, column))
        return spec.type if spec is not None else "double"

    return CsvLines((), config.delimiter, column_kind, midway=False).decode


def _times(config: Config) -> Times | Intervals:
    if config.time is not None:
        return Times(config.time, time_parser(config.time_format))
    return Intervals(parse_duration(config.interval or "0s"))
