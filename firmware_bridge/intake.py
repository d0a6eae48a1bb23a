"""Which samples are new, which are missing, and which will never come (PROTOCOL.md sections 5 and 6). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isfinite
from operator import le
from typing import Any, NamedTuple

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
        self, message: Samples, schema: Columns, clock: ClockMap, now_ns: int
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
        values, quality = _clean(streams, items[-3 * ahead + 2 :: 3], schema)
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
    """The kind of a stream whose every value needs a second look."""


class Columns(NamedTuple):
    """The usable streams of a device by index, as `_clean` wants them. `kinds` has the Python type of a value that
    needs no second look."""

    streams: dict[int, Stream]
    kinds: dict[int, type]
    lows: dict[int, Value]
    highs: dict[int, Value]
    zeros: dict[int, Value]


_KINDS: dict[ValueType, tuple[type, Value]] = {
    ValueType.BOOL: (bool, False),
    ValueType.I32: (int, 0),
    ValueType.U32: (int, 0),
    ValueType.F32: (float, 0.0),
}


_at_most: Callable[[Any, Any], bool] = le


def columns(streams: Sequence[Stream | None]) -> Columns:
    """Of a device's streams, those that were not refused."""
    usable = {index: stream for index, stream in enumerate(streams) if stream is not None}
    return Columns(
        usable,
        {index: _kind(stream) for index, stream in usable.items()},
        {index: stream.min for index, stream in usable.items()},
        {index: stream.max for index, stream in usable.items()},
        {index: _KINDS[stream.type][1] for index, stream in usable.items()},
    )


def _kind(stream: Stream) -> type:
    # An infinite range would let infinities pass as good.
    plain = isfinite(stream.min) and isfinite(stream.max)
    return _KINDS[stream.type][0] if plain else _Never


def _clean(
    streams: tuple[int, ...], raw: list[Value | None], schema: Columns
) -> tuple[tuple[Value | None, ...], bytes]:
    """Without a Python loop where all is as declared, which it nearly always is."""
    if (
        list(map(type, raw)) == list(map(schema.kinds.get, streams))
        and all(map(_at_most, map(schema.lows.get, streams), raw))
        and all(map(_at_most, raw, map(schema.highs.get, streams)))
    ):
        # -0.0 becomes 0.0.
        zeros = map(schema.zeros.get, streams)
        values = [value or zero for value, zero in zip(raw, zeros, strict=True)] if 0 in raw else raw
        return tuple(values), bytes(len(raw))
    found = map(schema.streams.get, streams)
    graded = [_grade(value, stream) for value, stream in zip(raw, found, strict=True)]
    return tuple(value for value, _ in graded), bytes(quality for _, quality in graded)


def _grade(value: Value | None, stream: Stream | None) -> tuple[Value | None, Quality]:
    if stream is None or (value is not None and not fits(value, stream.type)):
        return None, Quality.REJECTED
    if value is None or (stream.type is ValueType.F32 and not isfinite(value)):
        return None, Quality.BAD
    if not stream.min <= value <= stream.max:
        return value, Quality.OUT_OF_RANGE
    # Adding zero turns -0.0 into 0.0.
    return (value + 0.0 if stream.type is ValueType.F32 else value), Quality.GOOD
