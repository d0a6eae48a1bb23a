"""What a subscriber can prove about one bridge device: every number and every value, across epochs and boots."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from edge_agent.contract import decode, messages
from firmware_bridge import messages as bridge
from firmware_bridge.frame import Decoder
from firmware_bridge.messages import Info


@dataclass
class Account:
    """By kind of entry how many numbers; `wrong` lists what cannot be."""

    readings: int = 0
    declared: dict[str, int] = field(default_factory=dict)
    ends: list[int | None] = field(default_factory=list)
    """How many samples each boot before the present one gave, received or declared; None where nobody knows."""
    wrong: list[str] = field(default_factory=list)
    place: int = 0
    """The number of the device's next sample in its present boot."""

    def restart(self, end: int | None) -> None:
        """The boot that gave `end` samples is over."""
        self.ends.append(end)
        self.place = 0


class Firmware:
    """The other witness: what the device says of the boot before, heard on its own end of the cable."""

    def __init__(self) -> None:
        self.ends: list[int | None] = []
        """As Account's."""
        self._boot: int | None = None
        self._decoder = Decoder()

    @property
    def frames(self) -> int:
        return self._decoder.counters.good

    def hear(self, data: bytes) -> None:
        for kind, _, payload in self._decoder.feed(data):
            if kind == Info.TYPE:
                self._on_info(bridge.decode(kind, payload))

    def _on_info(self, info: Info) -> None:
        if self._boot not in (None, info.boot):
            self.ends.append(info.prev_next)
        self._boot = info.boot


class Subscriber:
    """`take` is DemoBackend's on_row. Later copies of a row change nothing."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._readings: dict[str, dict[int, dict]] = {}
        self._gaps: dict[str, dict[int, tuple[int, str]]] = {}
        self.units: dict[str, str] = {}
        self.bad_fields: set[str] = set()

    def take(self, row: messages.RowMessage) -> None:
        if isinstance(row, messages.Tele):
            for segment in row.seg:
                if segment.stream == self._stream:
                    self._segment(row.epoch, segment)
        elif isinstance(row, messages.GapMessage):
            for stream, epoch, first, last, reason in decode.lost(row):
                if stream == self._stream:
                    self._gaps.setdefault(epoch, {})[first] = (last, reason)

    def _segment(self, epoch: str, segment: messages.Segment) -> None:
        readings = self._readings.setdefault(epoch, {})
        self.units |= {name: channel.u for name, channel in segment.ch.items()}
        self.bad_fields |= {name for name, channel in segment.ch.items() if channel.q}
        for i in range(segment.n):
            readings[segment.seq0 + i] = {n: c.x[i] for n, c in segment.ch.items() if c.x[i] is not None}

    def column(self, name: str) -> list[tuple[int, object]]:
        """(number, value) of a field that came in one epoch."""
        (readings,) = self._readings.values()
        return [(seq, values[name]) for seq, values in sorted(readings.items()) if name in values]

    @property
    def epochs(self) -> int:
        """In which something of the stream came or was lost."""
        return len(self._readings.keys() | self._gaps.keys())

    @property
    def accounted(self) -> int:
        """Received or declared."""
        gaps = [(first, last) for epoch in self._gaps.values() for first, (last, _) in epoch.items()]
        return self.received + sum(last - first + 1 for first, last in gaps)

    @property
    def received(self) -> int:
        return sum(map(len, self._readings.values()))

    def account(self) -> Account:
        """Walks all numbers in order: each value must be the one that the firmware gave that sample."""
        out = Account()
        for epoch in sorted(self._readings.keys() | self._gaps.keys()):
            readings, gaps = self._readings.get(epoch, {}), self._gaps.get(epoch, {})
            seq, end = 0, max([*readings, *(last for last, _ in gaps.values()), -1])
            while seq <= end:
                if seq in gaps:
                    last, reason = gaps[seq]
                    _lose(out, reason, last - seq + 1)
                    seq = last + 1
                elif seq in readings:
                    _follow(out, readings[seq], f"{epoch}/{seq}")
                    seq += 1
                else:
                    out.wrong.append(f"{epoch}/{seq}: neither received nor declared")
                    seq += 1
        return out


def _lose(out: Account, reason: str, count: int) -> None:
    out.declared[reason] = out.declared.get(reason, 0) + count
    if reason.startswith("device_reset"):
        out.restart(None if reason == "device_reset_open" else out.place + count)
    else:
        out.place += count


def _follow(out: Account, values: dict, where: str) -> None:
    out.readings += 1
    if values.get("count") == 0 and out.place:
        # it started anew and nothing of the boot before was lost
        out.restart(out.place)
    number = out.place
    out.place += 1
    if values != expected(number) and len(out.wrong) < 20:
        out.wrong.append(f"{where}: sample {number} is {values}")


def expected(number: int) -> dict:
    """What examples/cortex_m3 records under this number."""
    if number % 10 == 9:
        return {"temp": _f32(20.0 + _f32(number % 1000 * _f32(0.01)))}
    if number % 100 == 50:
        return {"door": bool(number // 100 % 2)}
    return {"count": number}


def _f32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]
