"""From what a line said to a reading: which stream it belongs to, which values are wanted, what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.errors import Rejected
from edge_agent.ports import Counters
from edge_agent.sources.device_seq import DeviceSeq
from edge_agent.sources.scalars import Names, is_name, settle
from edge_agent.types import ClockQuality, Quality, Reading, Stamp

MAX_STREAMS = 32
RESERVED_STREAMS = frozenset({"alert", "audit", "decision", "health", "ledger"})
_MAX_TIME_ERROR_S = 3600.0


class LineReadings:
    """Makes readings of one device. `streams` and `values` map our names to the device's; empty: its own names."""

    def __init__(
        self, name: str, counters: Counters, *, stream_key: str = "", streams: Mapping[str, str] | None = None,
        values: Mapping[str, str] | None = None, seq_field: str = "", time_field: str = "",
    ) -> None:  # fmt: skip
        self._name = name
        self._counters = counters
        self._stream_key = stream_key
        self._streams = {device: ours for ours, device in (streams or {}).items()}
        self._streams_open = not streams
        self._values = tuple((values or {}).items())
        self._seq_field = seq_field
        self._time_field = time_field
        self._names = Names()
        self._seqs: dict[str, DeviceSeq] = {}

    def make(self, said: dict[str, Any], stamp: Stamp) -> Reading | None:
        """None when it carries nothing that is wanted. Raises Rejected; `said` is used up."""
        stream = self._stream(said) if self._stream_key else self._name
        if self._values:
            said = {ours: said[theirs] for ours, theirs in self._values if theirs in said}
            if not said:
                return None
        elif not said:
            raise Rejected("no_value")
        self._names.check(said)
        quality = settle(said)
        if self._seq_field:
            self._follow(stream, said.get(self._seq_field))
        if self._time_field and _is_off(said.get(self._time_field), stamp):
            quality = {**(quality or {}), self._time_field: Quality.UNCERTAIN}
        return Reading(stream, stamp, said, quality)

    def _stream(self, said: dict[str, Any]) -> str:
        told = said.pop(self._stream_key, None)
        known = self._streams.get(told) if isinstance(told, str) else None
        if known is not None:
            return known
        if not self._streams_open or not isinstance(told, str) or len(self._streams) >= MAX_STREAMS:
            raise Rejected("unknown_stream")
        if not is_name(told) or told in RESERVED_STREAMS:
            raise Rejected("unknown_stream")
        self._streams[told] = told
        return told

    def _follow(self, stream: str, seq: object) -> None:
        """Loss and restarts are the device's: counted, and nothing is dropped as a duplicate."""
        if type(seq) is not int:
            return
        missing, restarted = self._seqs.setdefault(stream, DeviceSeq()).follow(seq)
        if missing:
            self._counters.count("device_lost", missing)
        if restarted:
            self._counters.count("device_restarts")


def _is_off(device_time: object, stamp: Stamp) -> bool:
    """Seconds or milliseconds since 1970 that are more than an hour from our own synchronised clock."""
    if not isinstance(device_time, (int, float)) or stamp.quality is not ClockQuality.SYNCED:
        return False
    seconds = device_time / 1e3 if abs(device_time) > 1e11 else device_time
    return abs(stamp.wall_ns / 1e9 - seconds) > _MAX_TIME_ERROR_S
