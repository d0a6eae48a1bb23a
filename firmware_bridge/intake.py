"""Which samples are new, which are missing, and which will never come (PROTOCOL.md sections 5 and 6). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

from firmware_bridge.clock import ClockMap
from firmware_bridge.events import Batch, Cursor, Event, Gap, GapReason, Quality, Restarted
from firmware_bridge.messages import Info, Lost, Samples, Stream, Value, ValueType, fits

_WRAP = 1 << 32


def distance(a: int, b: int) -> int:
    """b - a as serial numbers, -2^31 to 2^31 - 1 (RFC 1982)."""
    return ((b - a + (1 << 31)) % _WRAP) - (1 << 31)


class MissingBefore(Exception):
    """Samples between the expected one and these have not come: ask the device to go back."""


class RateLimit:
    """A token bucket: `per_s` samples a second, five seconds' worth at once."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._tokens = 5.0 * per_s
        self._at_ns: int | None = None

    def take(self, count: int, now_ns: int) -> bool:
        """Whether `count` samples may pass; if so they are counted."""
        if self._at_ns is not None:
            earned = (now_ns - self._at_ns) * self._per_s / 1e9
            self._tokens = min(5.0 * self._per_s, self._tokens + earned)
        self._at_ns = now_ns
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class Intake:
    """The host's place in the device's sample numbers. `durable` is what may be acknowledged."""

    def __init__(self, durable: Cursor | None, rate: RateLimit) -> None:
        self.durable = durable
        self.boot: int | None = durable.boot if durable else None
        self.expected = durable.next if durable else 0
        self.duplicates = 0
        self._life = 0
        self._rate = rate
        self._seen_us = 0

    def on_info(self, info: Info) -> list[Event]:
        """Events for a device that has just said who it is; the last cursor is where its samples go on."""
        if self.boot is None:
            self._start(info)
            return self._overwritten(info)
        behind = distance(self.expected, info.next) < 0 or info.time_us < self._seen_us
        if self.boot == info.boot and not behind:
            self._seen_us = info.time_us
            return self._overwritten(info)
        boot_before, missed_from = self.boot, self.expected
        self._life += boot_before == info.boot
        self._start(info)
        restarted = Restarted(boot_before, info.boot, rolled_back=boot_before == info.boot)
        return [restarted, *self._reset_gaps(info, boot_before, missed_from), *self._overwritten(info)]

    def _start(self, info: Info) -> None:
        self.boot = info.boot
        self.expected = info.acked
        self._seen_us = info.time_us
        self.durable = Cursor(info.boot, info.acked, self._life)

    @property
    def cursor(self) -> Cursor:
        """Where the host stands, once it has heard the device."""
        assert self.boot is not None
        return Cursor(self.boot, self.expected, self._life)

    def _reset_gaps(self, info: Info, boot_before: int, missed_from: int) -> list[Event]:
        end = None
        if info.prev_boot == boot_before and info.prev_next is not None:
            end = info.prev_next if distance(missed_from, info.prev_next) >= 0 else None
        gaps: list[Event] = []
        if end != missed_from:
            gaps.append(Gap(boot_before, missed_from, end, GapReason.DEVICE_RESET, self.cursor))
        unheard = info.prev_boot not in (None, boot_before, info.boot)
        if unheard and info.prev_boot is not None and info.prev_next:
            gaps.append(Gap(info.prev_boot, 0, info.prev_next, GapReason.DEVICE_RESET, self.cursor))
        return gaps

    def _overwritten(self, info: Info) -> list[Event]:
        if distance(self.expected, info.first) <= 0:
            return []
        return [self._skip_to(info.first, GapReason.OVERWRITTEN)]

    def _skip_to(self, number: int, reason: GapReason) -> Gap:
        first, self.expected = self.expected, number
        return Gap(self.cursor.boot, first, number, reason, self.cursor)

    def on_lost(self, lost: Lost) -> Gap | None:
        """The gap; None for one already known. Raises MissingBefore."""
        if distance(self.expected, lost.next) <= 0:
            return None
        if distance(self.expected, lost.first) > 0:
            raise MissingBefore
        return self._skip_to(lost.next, GapReason.OVERWRITTEN)

    def on_samples(
        self, message: Samples, columns: Columns, clock: ClockMap, now_ns: int
    ) -> Batch | Gap | None:
        """The new samples; a gap when they came too fast; None for duplicates. Raises MissingBefore."""
        ahead = distance(self.expected, message.first)
        if ahead > 0:
            raise MissingBefore
        items = message.items
        count = len(items) // 3 + ahead
        if count <= 0:
            self.duplicates += 1
            return None
        if not self._rate.take(count, now_ns):
            return self._skip_to((self.expected + count) % _WRAP, GapReason.RATE_LIMIT)
        first = self.expected
        self.expected = (first + count) % _WRAP
        times = tuple(accumulate(items[1::3], initial=message.time_us))[1 - ahead :]
        streams = tuple(items[-3 * ahead :: 3])
        values, quality = _clean(streams, items[-3 * ahead + 2 :: 3], columns)
        offset_ns, error_ns = self._offset(times, clock, now_ns)
        return Batch(first, streams, times, values, quality, offset_ns, error_ns, now_ns, self.cursor)

    def _offset(self, times: tuple[int, ...], clock: ClockMap, now_ns: int) -> tuple[int | None, int]:
        newest = max(times)
        if not clock.synced or min(times) < 0:
            return None, 0
        offset_ns, error_ns = clock.offset(now_ns)
        if newest * 1000 + offset_ns > now_ns + error_ns:
            return None, 0
        self._seen_us = max(self._seen_us, newest)
        return offset_ns, error_ns

    def commit(self, cursor: Cursor) -> bool:
        """The owner made everything before `cursor` durable. False when it is of an earlier boot, or not new."""
        # A cursor of the same id but an earlier life must not acknowledge samples of this one.
        if self.durable is None or (cursor.boot, cursor.life) != (self.boot, self._life):
            return False
        if distance(self.durable.next, cursor.next) <= 0 or distance(cursor.next, self.expected) < 0:
            return False
        self.durable = cursor
        return True


class _Never:
    """The type of a value that needs a second look whatever it is."""


_Column = tuple[Any, Any, Any, Any, Stream | None]
"""The type, least and greatest of the values that are good as they are; what their zeros become; their stream."""

_UNKNOWN: _Column = (_Never, 0, 0, 0, None)
_TYPES: dict[ValueType, tuple[type, Value]] = {
    ValueType.BOOL: (bool, False),
    ValueType.I32: (int, 0),
    ValueType.U32: (int, 0),
    ValueType.F32: (float, 0.0),
}


class Columns(dict[int, _Column]):
    """Of the streams of a device by index, those that were not refused."""

    def __init__(self, streams: Sequence[Stream | None] = ()) -> None:
        super().__init__((index, _column(stream)) for index, stream in enumerate(streams) if stream is not None)

    def __missing__(self, index: int) -> _Column:
        return _UNKNOWN


def _column(stream: Stream) -> _Column:
    kind, zero = _TYPES[stream.type]
    # An infinite range would let infinities pass as good.
    bounded = isfinite(stream.min) and isfinite(stream.max)
    return kind if bounded else _Never, stream.min, stream.max, zero, stream


def _clean(
    streams: tuple[int, ...], raw: list[Any], columns: Columns
) -> tuple[tuple[Value | None, ...], bytes]:
    """The values as they are kept, and the quality of each."""
    values: list[Value | None] = []
    keep = values.append
    quality = bytearray(len(raw))
    for index, value in zip(streams, raw, strict=True):
        kind, low, high, zero, stream = columns[index]
        if type(value) is kind and low <= value <= high:
            # -0.0 becomes 0.0.
            keep(value or zero)
        else:
            graded, quality[len(values)] = _grade(value, stream)
            keep(graded)
    return tuple(values), bytes(quality)


def _grade(value: Value | None, stream: Stream | None) -> tuple[Value | None, Quality]:
    if stream is None or (value is not None and not fits(value, stream.type)):
        return None, Quality.REJECTED
    if value is None or (stream.type is ValueType.F32 and not isfinite(value)):
        return None, Quality.BAD
    if not stream.min <= value <= stream.max:
        return value, Quality.OUT_OF_RANGE
    # Adding zero turns -0.0 into 0.0.
    return (value + 0.0 if stream.type is ValueType.F32 else value), Quality.GOOD
