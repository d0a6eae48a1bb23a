"""Fills a store quickly with rows as the agent would have written them: one for each second of all streams."""

from __future__ import annotations

import random
from collections.abc import Iterator

from edge_agent.contract.rows import Draft
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.store.gaps import GapSet
from edge_agent.store.writer import Writer
from edge_agent.types import Reading, Record, Stamp

_ROWS_PER_COMMIT = 200
_START_NS = 5_000_000_000_000


class Filler:
    """`fill` goes on where it stopped; values repeat after 64 rows, which deflate does not see."""

    def __init__(self, writer: Writer, *, streams: int, hz: int) -> None:
        self._writer = writer
        self._hz = hz
        self._seconds = 0
        rng = random.Random(2)
        self._names = [f"back{i:02d}" for i in range(streams)]
        self._values = [{"temp": round(20 + rng.gauss(0, 2), 2)} for _ in range(64 * streams * hz)]
        self._builder = TeleBuilder(
            writer.encoder.gateway, writer.epoch, describe=lambda _: StreamSpec("back", {"temp": "Cel"}),
            limit_bytes=96 * 1024,
        )  # fmt: skip

    def fill(self, rows: int) -> None:
        waiting: list[Draft] = []
        for draft in self._drafts(rows):
            waiting.append(draft)
            if len(waiting) == _ROWS_PER_COMMIT:
                self._writer.commit(waiting, GapSet())
                waiting = []
        if waiting:
            self._writer.commit(waiting, GapSet())

    def _drafts(self, rows: int) -> Iterator[Draft]:
        for _ in range(rows):
            for k in range(self._hz):
                self._second_part(k)
            self._seconds += 1
            drafts, _ = self._builder.close()
            yield from drafts

    def _second_part(self, k: int) -> None:
        seq = self._seconds * self._hz + k
        ns = _START_NS + seq * 1_000_000_000 // self._hz
        stamp = Stamp(ns, 1_767_225_600_000_000_000 + ns, boot="b")
        at = seq * len(self._names)
        for i, name in enumerate(self._names):
            reading = Reading(name, stamp, self._values[(at + i) % len(self._values)])
            self._builder.append(Record(seq, reading))
