"""What the completeness view says, for people and programs."""

from __future__ import annotations

from typing import cast

import msgspec
from psycopg import errors

from edge_agent.errors import Fatal
from edge_agent.fleet.database import DatabaseSettings, connected

_QUERY = """
select tenant, site, gateway, epoch, stream, start_no, received, declared, missing, last_known, closed,
    coalesce((select array_agg(array[lower(r), upper(r) - 1] order by r) from unnest(holes) r), '{}')
from edge.completeness
where %(gateway)s::text is null or gateway = %(gateway)s
order by tenant, site, gateway, start_no nulls last, epoch, stream
"""
_SHOWN = 10


class Stream(msgspec.Struct, frozen=True):
    """One stream of one epoch. `holes` are neither received nor declared, both ends included, and known up to
    `last_known`; only where `closed` is it certain that nothing follows."""

    tenant: str
    site: str
    gateway: str
    epoch: str
    stream: str
    start_no: int | None
    received: int
    declared: int
    missing: int
    last_known: int | None
    closed: bool
    holes: list[tuple[int, int]]

    def __str__(self) -> str:
        name = f"{self.tenant}/{self.site}/{self.gateway} {self.epoch} {self.stream}"
        end = f"to {self.last_known}" if self.closed else f"to {self.last_known} so far"
        said = f"{name}: {self.received:,} received, {self.declared:,} declared, {end}"
        shown = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in self.holes[:_SHOWN])
        more = f" and {len(self.holes) - _SHOWN} ranges more" if len(self.holes) > _SHOWN else ""
        return f"{said}; MISSING {self.missing:,}: {shown}{more}" if self.holes else said


def read_completeness(database: DatabaseSettings, gateway: str | None = None) -> list[Stream]:
    """Raises Retryable where there is no database, Fatal where it refuses or has no tables of an ingest."""
    with connected(database) as connection:
        try:
            rows = connection.execute(_QUERY, {"gateway": gateway}).fetchall()
        except errors.UndefinedTable as e:
            hint = "is it the right one? edge-agent fleet ingest makes the tables"
            raise Fatal(f"{database.where} has no tables of an ingest", hint=hint) from e
    return [_stream(row) for row in rows]


def _stream(row: tuple[object, ...]) -> Stream:
    *values, holes = row
    ranges = [(first, last) for first, last in cast("list[list[int]]", holes)]
    return msgspec.convert(dict(zip(Stream.__struct_fields__, (*values, ranges), strict=True)), Stream)
