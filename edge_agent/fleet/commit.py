"""One batch of messages, committed: what is new is inserted, what is known is compared, all in one transaction.

Promise: after `commit` returns, everything that it calls held is on the server's disk, and doing it again changes
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
import psycopg

from edge_agent.fleet import statements as sql
from edge_agent.fleet.database import Connection
from edge_agent.fleet.intake import DeadLetter, Delivery, Document, Segment, Series, unstorable

_MOST_SERIES = 200_000
"""Ids remembered; a fleet has some ten streams a gateway and epoch."""


class Counts(msgspec.Struct):
    """Since the start of the process."""

    messages: int = 0
    readings: int = 0
    events: int = 0
    duplicates: int = 0
    """Numbers that were held already."""
    conflicts: int = 0
    dead_letters: int = 0
    commits: int = 0


@dataclass
class Outcome:
    """What became of a batch. `held`: committed now or before; `rejected`: (series, seq0, code)."""

    held: list[Segment] = field(default_factory=list)
    rejected: list[tuple[Series, int, str]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    loud: list[str] = field(default_factory=list)
    """What a person should hear of: conflicts and dead letters."""


class _Overlap(Exception):
    """These new segments cut across others."""

    def __init__(self, keys: set[tuple[int, int]]) -> None:
        super().__init__(keys)
        self.keys = keys


class Writer:
    """Writes batches over one connection after the other; remembers the ids of series between them."""

    def __init__(self) -> None:
        self._ids: dict[Series, int] = {}

    def commit(self, connection: Connection, batch: Sequence[Delivery]) -> Outcome:
        """Raises psycopg.OperationalError when it is not known whether it was committed: then do it again."""
        try:
            return self._commit(connection, batch)
        except (psycopg.DataError, psycopg.IntegrityError):
            # something in one of them that PostgreSQL does not take: the others shall not wait for it
            return _joined(self._alone(connection, delivery) for delivery in batch)

    def _alone(self, connection: Connection, delivery: Delivery) -> Outcome:
        try:
            return self._commit(connection, [delivery])
        except (psycopg.DataError, psycopg.IntegrityError) as e:
            return self._commit(connection, [unstorable(delivery, str(e.diag.message_primary or e))])

    def _commit(self, connection: Connection, batch: Sequence[Delivery]) -> Outcome:
        overlapping: set[tuple[int, int]] = set()
        while True:
            transaction = _Transaction(connection, self._ids, overlapping)
            try:
                with connection.transaction():
                    outcome = transaction.write(batch)
            except _Overlap as e:
                overlapping |= e.keys
                continue
            if len(self._ids) > _MOST_SERIES:
                self._ids.clear()
            self._ids |= transaction.new_ids  # not before: a rollback takes them away again
            return outcome


class _Transaction:
    """One try. `overlapping`: keys of segments that were seen to cut across others."""

    def __init__(self, connection: Connection, ids: dict[Series, int], overlapping: set[tuple[int, int]]) -> None:
        self._connection = connection
        self._ids = ids
        self._overlapping = overlapping
        self.new_ids: dict[Series, int] = {}
        self._out = Outcome(counts=Counts(commits=1))

    def write(self, batch: Sequence[Delivery]) -> Outcome:
        self._out.counts.messages = len(batch)
        self._resolve(batch)
        sent = [(self._key(s), s, d) for d in batch for s in d.segments]
        first: dict[tuple[int, int], tuple[Segment, Delivery]] = {}
        for key, segment, delivery in sent:
            first.setdefault(key, (segment, delivery))
        new = self._insert_segments({key: s for key, (s, _) in first.items() if key not in self._overlapping})
        held = self._held([key for key in first if key not in new])
        for key, segment, delivery in sent:
            known = held.get(key) or (first[key][0].n, first[key][0].h)
            fresh = key in new and segment is first[key][0]
            self._judge(key, segment, delivery, known if key not in self._overlapping else None, fresh=fresh)
        self._insert_content([first[key][0] for key in sorted(new)])
        self._insert_ledger([d for d in batch if any(self._key(s) in new for s in d.segments)])
        self._insert_documents([d.document for d in batch if d.document])
        self._insert_dead_letters([d.dead for d in batch if d.dead])
        return self._out

    # series

    def _resolve(self, batch: Sequence[Delivery]) -> None:
        named = {s.series for d in batch for s in d.segments}
        named |= {g.series for d in batch for g in d.gaps} | {c.series for d in batch for c in d.closings}
        missing = sorted(named - self._ids.keys())
        if not missing:
            return
        columns = [list(column) for column in zip(*missing, strict=True)]
        self._connection.execute(sql.NEW_SERIES, columns)
        for row in self._connection.execute(sql.FIND_SERIES, columns):
            self.new_ids[Series(*cast("tuple[str, str, str, str, str]", row[1:]))] = cast("int", row[0])

    def _id(self, series: Series) -> int:
        found = self._ids.get(series)
        return self.new_ids[series] if found is None else found

    def _key(self, segment: Segment) -> tuple[int, int]:
        return self._id(segment.series), segment.seq0

    # segments and what is in them

    def _insert_segments(self, segments: dict[tuple[int, int], Segment]) -> set[tuple[int, int]]:
        """The keys of those that were not there. In the order of keys, so that two processes do not deadlock."""
        if not segments:
            return set()
        rows = [(*key, s.n, s.h, s.boot, s.tq) for key, s in sorted(segments.items())]
        found = self._connection.execute(sql.NEW_SEGMENTS, _columns(rows))
        return cast("set[tuple[int, int]]", set(found))

    def _held(self, keys: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        """(n, h) of segments that are there."""
        if not keys:
            return {}
        found = cast("list[tuple[int, int, int, int]]", self._connection.execute(sql.FIND_SEGMENTS, _columns(keys)))
        return {(series, seq0): (n, h) for series, seq0, n, h in found}

    def _judge(
        self, key: tuple[int, int], segment: Segment, delivery: Delivery, known: tuple[int, int] | None, *,
        fresh: bool,
    ) -> None:  # fmt: skip
        counts = self._out.counts
        if known != (segment.n, segment.h):
            self._conflict(key, segment, delivery, known)
            return
        self._out.held.append(segment)
        if not fresh:
            counts.duplicates += segment.n
        elif segment.event is None:
            counts.readings += segment.n
        else:
            counts.events += 1

    def _conflict(
        self, key: tuple[int, int], segment: Segment, delivery: Delivery, known: tuple[int, int] | None
    ) -> None:
        series, seq0 = key
        n, h = known or (None, None)
        self._connection.execute(sql.CONFLICT, (series, seq0, segment.n, segment.h, n, h, delivery.body))
        self._out.counts.conflicts += 1
        self._out.rejected.append((segment.series, seq0, "conflict"))
        where = "/".join(segment.series)
        last = seq0 + segment.n - 1
        how = "other content than before" if known else "other borders than before"
        self._out.loud.append(f"conflict: {where} numbers {seq0} to {last} came with {how}; see edge.conflict")

    def _insert_content(self, segments: Iterable[Segment]) -> None:
        readings: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        for s in segments:
            series = self._id(s.series)
            if s.event is not None:
                events.append((series, s.seq0, *s.event))
            readings += [(series, *r) for r in s.readings]
        if readings and self._connection.execute(sql.NEW_READINGS, _columns(readings)).rowcount < len(readings):
            raise _Overlap(self._cutting(segments))
        if events:
            self._connection.execute(sql.NEW_EVENTS, _columns(events))

    def _cutting(self, segments: Iterable[Segment]) -> set[tuple[int, int]]:
        rows = [(self._id(s.series), s.seq0, s.n) for s in segments]
        found = cast("set[tuple[int, int]]", set(self._connection.execute(sql.CUTTING, _columns(rows))))
        assert found, "readings are there that no segment names"
        return found

    # the rest

    def _insert_ledger(self, deliveries: list[Delivery]) -> None:
        gaps: list[tuple[object, ...]] = []
        closings: list[tuple[object, ...]] = []
        fixes: list[tuple[object, ...]] = []
        for d in deliveries:
            if not (d.gaps or d.closings or d.fix):
                continue
            said = self._key(d.segments[0])
            gaps += [(self._id(g.series), g.first, g.last, g.reason, *said) for g in d.gaps]
            closings += [(self._id(c.series), c.last, c.lost, *said) for c in d.closings]
            if d.fix is not None:
                fixes.append((*d.segments[0].series[:3], *d.fix, *said))
        for statement, rows in ((sql.NEW_GAPS, gaps), (sql.NEW_CLOSINGS, closings), (sql.NEW_FIXES, fixes)):
            if rows:
                self._connection.execute(statement, _columns(rows))

    def _insert_documents(self, documents: list[Document]) -> None:
        for d in documents:
            gateway = (d.gateway.tenant, d.gateway.site, d.gateway.gateway)
            if d.epoch:
                self._connection.execute(sql.EPOCH, (*gateway, d.epoch, d.start_no))
            self._connection.execute(sql.DOCUMENT, (*gateway, d.kind, d.body, not d.death))

    def _insert_dead_letters(self, letters: list[DeadLetter]) -> None:
        for letter in letters:
            digest = hashlib.sha256(letter.topic.encode("utf-8", "replace") + b"\0" + letter.body).digest()
            self._connection.execute(sql.DEAD_LETTER, (digest, letter.topic, letter.code, letter.why, letter.body))
            self._out.counts.dead_letters += 1
            self._out.rejected += [(series, seq, letter.code) for series, seq in letter.claims]
            self._out.loud.append(f"dead letter from {letter.topic}: {letter.why}; it is kept in edge.dead_letter")


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _joined(outcomes: Iterable[Outcome]) -> Outcome:
    all_of = Outcome()
    for o in outcomes:
        all_of.held += o.held
        all_of.rejected += o.rejected
        all_of.loud += o.loud
        add(all_of.counts, o.counts)
    return all_of


def add(total: Counts, more: Counts) -> None:
    for name in Counts.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(more, name))
