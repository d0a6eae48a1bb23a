"""Text lines from a serial port: NDJSON, CSV with a header, or NMEA 0183, with an optional check value a line.

    [[source]]
    name = "press"
    kind = "serial_lines"
    device = "/dev/serial/by-id/usb-ACME_Press_0042-if00-port0"
    format = "ndjson"                   # {"temp": 71.3, "rpm": 1480, "seq": 17}

Each line is one reading, stamped when it was read; the device's own `time` and `seq` are fields like any other.
A bad line is counted by its reason and kept in the quarantine, and the next one is taken: `too_long`,
`check_missing`, `check_failed`, `json`, `sentence`, `encoding`, `no_header`, `cell_count`, `cell`, `field_name`,
`too_many_fields`, `int_range`, `text_length`, `value_type`, `no_value`, `unknown_stream`. Lines that start with
`#` are the device's notes. The note `noisy` is true while more than half of what comes is bad.

The decoder starts afresh at every connect, and the first line may be the tail of one: without a check value, a CSV
line is taken only after the first line end.

Commands of a serial actuator on the same port share it. The device answers between its readings with
`{"ack":7,"set":"relay","value":0}` (links/answers.py), whatever the format, with the same check value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_agent.config.site import Duration, Name
from edge_agent.durations import parse_duration
from edge_agent.errors import Rejected
from edge_agent.links.answers import parse_answer
from edge_agent.links.lines import Check, LineSplitter, checker
from edge_agent.links.serial import Baud, Framing, SerialSettings
from edge_agent.links.serial_link import SerialPort
from edge_agent.ports import Context, FieldSpec
from edge_agent.sources.csv_lines import CsvLines
from edge_agent.sources.line_readings import LineReadings
from edge_agent.sources.ndjson import decode_object
from edge_agent.sources.nmea import Nmea, kind_of, place_problem
from edge_agent.types import Reading, Stamp

_JUDGED_BYTES = 1024


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `serial_lines` source."""

    device: str
    """The port; a stable name such as `/dev/serial/by-id/…` survives renumbering."""
    format: Literal["ndjson", "csv", "nmea"] = "ndjson"
    """How a line is written."""
    baud: Baud = 115_200
    """Bits per second; NMEA 0183 devices mostly speak 4800."""
    framing: Framing = "8N1"
    """Data bits, parity, stop bits."""
    check: Literal["auto", "none", "xor", "crc16", "crc32"] = "auto"
    """What ends each line after a `*` (links/lines.py); `auto`: xor for nmea, none for the others."""
    values: dict[Name, str] = {}
    """Field: the device's name for it. Empty: all, under their own names. nmea: field: place, as "DPT.depth"."""
    columns: tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...] = ()
    """csv: the names in order, where the device sends no header line."""
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    """csv: what stands between two cells."""
    stream_key: str = ""
    """ndjson, csv: the name under which a line tells its stream. Empty: one stream, named as the source."""
    streams: dict[Name, str] = {}
    """Stream: the device's name for it; others are refused. Empty: up to 32 well-formed names as they come."""
    seq_field: str = ""
    """The field that counts the device's samples: losses and restarts are counted."""
    time_field: str = ""
    """The field with the device's time since 1970, in s or ms: uncertain when over an hour from ours."""
    max_line: Annotated[int, Meta(ge=16, le=65_536)] = 4096
    """Bytes; a longer line is dropped."""
    idle: Duration | None = None
    """So much silence counts as a lost link: the port is opened again."""

    def __post_init__(self) -> None:
        if self.format != "nmea":
            return
        if not self.values:
            raise ValueError('nmea needs `values`, such as { depth = "DPT.depth" }')
        problems = filter(None, map(place_problem, self.values.values()))
        if problem := "; ".join(problems):
            raise ValueError(problem)


def fields(config: Config) -> dict[str, FieldSpec]:
    """An NMEA sentence fixes the types of its fields; the other formats leave that to the site file."""
    if config.format != "nmea":
        return {}
    return {field: FieldSpec(type=kind_of(place)) for field, place in config.values.items()}


def open(config: Config, context: Context) -> SerialLines:  # noqa: A001 - the seam's name
    """Opens or joins the port. Raises Retryable, or Rejected when the port's users disagree."""
    settings = SerialSettings(config.device, config.baud, config.framing)
    return SerialLines(config, context, context.links.serial(settings, reading=True))


class SerialLines:
    """ports.Source over one connection."""

    def __init__(self, config: Config, context: Context, port: SerialPort) -> None:
        check = _check(config)
        self._port = port
        self._clock = context.clock
        self._counters = context.counters
        self._idle_s = parse_duration(config.idle) / 1e9 if config.idle else 0.0
        self._splitter = LineSplitter(config.max_line)
        self._body_of = checker(check)
        self._decode = _decoder(config, context.fields)
        self._readings = LineReadings(
            context.name, context.counters,
            stream_key=config.stream_key, streams=config.streams,
            values={} if config.format == "nmea" else config.values,
            seq_field=config.seq_field, time_field=config.time_field,
        )  # fmt: skip
        self._noise = _Noise()

    def read(self, timeout_s: float) -> Sequence[Reading]:
        chunk = self._port.read(timeout_s, self._idle_s)
        if not chunk:
            return ()
        stamp = self._clock.now()
        readings: list[Reading] = []
        bad_bytes = 0
        for line in self._splitter.feed(chunk):
            try:
                reading = self._take(line, stamp)
            except Rejected as e:
                self._counters.quarantine(e.message, line)
                bad_bytes += len(line)
            else:
                if reading is not None:
                    readings.append(reading)
        if self._noise.judge(bad_bytes + self._overlong(), len(chunk)):
            self._counters.note("noisy", self._noise.noisy)
        return readings

    def close(self) -> None:
        self._port.close()

    def _overlong(self) -> int:
        """Bytes of lines that were too long, since the last call."""
        splitter = self._splitter
        if splitter.overlong:
            self._counters.count("too_long", splitter.overlong)
        dropped, splitter.dropped_bytes, splitter.overlong = splitter.dropped_bytes, 0, 0
        return dropped

    def _take(self, line: bytes, stamp: Stamp) -> Reading | None:
        """None for a line that is good but no reading."""
        if line[0] == 0x23:
            self._counters.count("notes")
            return None
        body = self._body_of(line)
        if b'"ack"' in body and (answer := parse_answer(body)) is not None:
            self._counters.count("answers" if self._port.answered(answer) else "answers_unasked")
            return None
        said = self._decode(body)
        if said is None:
            self._counters.count("other_lines")
            return None
        return self._readings.make(said, stamp)


def _check(config: Config) -> Check:
    if config.check == "auto":
        return "xor" if config.format == "nmea" else "none"
    return config.check


def _decoder(config: Config, specs: dict[str, FieldSpec]) -> Callable[[bytes], dict[str, Any] | None]:
    if config.format == "ndjson":
        return decode_object
    if config.format == "nmea":
        return Nmea(config.values).decode
    ours = {theirs: field for field, theirs in config.values.items()}

    def column_kind(column: str) -> str:
        if column == config.stream_key:
            return "string"
        spec = specs.get(ours.get(column, column))
        return spec.type if spec else "double"

    midway = _check(config) == "none"
    return CsvLines(config.columns, config.delimiter, column_kind, midway=midway).decode


class _Noise:
    """Whether more than half of the latest bytes were of bad lines."""

    def __init__(self) -> None:
        self.noisy = False
        self._bad = self._all = 0

    def judge(self, bad_bytes: int, all_bytes: int) -> bool:
        """True when the verdict changed."""
        self._bad += bad_bytes
        self._all += all_bytes
        if self._all < _JUDGED_BYTES:
            return False
        before, self.noisy = self.noisy, self._bad * 2 > self._all
        self._bad = self._all = 0
        return self.noisy != before
