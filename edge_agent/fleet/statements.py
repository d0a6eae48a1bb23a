"""The ingest's statements. Each takes columns: one round trip for a whole batch (unnest), which was measured the
fastest that survives a repetition. What is a key decides; nothing is updated."""

from __future__ import annotations

from typing import LiteralString

NEW_SERIES: LiteralString = """
insert into edge.series (tenant, site, gateway, epoch, stream)
select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
on conflict do nothing
"""
FIND_SERIES: LiteralString = """
select s.id, s.tenant, s.site, s.gateway, s.epoch, s.stream
from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) as u (tenant, site, gateway, epoch, stream)
join edge.series s using (tenant, site, gateway, epoch, stream)
"""

NEW_SEGMENTS: LiteralString = """
insert into edge.segment (series, seq0, n, h, boot, tq)
select * from unnest(%b::bigint[], %b::bigint[], %b::int[], %b::bigint[], %b::text[], %b::text[])
on conflict do nothing
returning series, seq0
"""
FIND_SEGMENTS: LiteralString = """
select s.series, s.seq0, s.n, s.h
from unnest(%b::bigint[], %b::bigint[]) as u (series, seq0) join edge.segment s using (series, seq0)
"""
CUTTING: LiteralString = """
select u.series, u.seq0
from unnest(%s::bigint[], %s::bigint[], %s::int[]) as u (series, seq0, n)
where exists (
    select from edge.segment s
    where s.series = u.series and s.seq0 <> u.seq0 and s.seq0 < u.seq0 + u.n and s.seq0 + s.n > u.seq0
)
"""

NEW_READINGS: LiteralString = """
insert into edge.reading (series, seq, t, m, fields, quality)
select series, seq, to_timestamp(t / 1000.0), m, fields::jsonb, quality::jsonb
from unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::text[], %b::text[])
    as u (series, seq, t, m, fields, quality)
on conflict do nothing
"""
NEW_EVENTS: LiteralString = """
insert into edge.event (series, seq, kind, t, m, body)
select series, seq, kind, to_timestamp(t / 1000.0), m, body::jsonb
from unnest(%b::bigint[], %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::text[])
    as u (series, seq, kind, t, m, body)
on conflict do nothing
"""

NEW_GAPS: LiteralString = """
insert into edge.gap (series, first, last, reason, said_in, said_at)
select * from unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
on conflict do nothing
"""
NEW_CLOSINGS: LiteralString = """
insert into edge.closing (series, last, lost, said_in, said_at)
select * from unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
on conflict do nothing
"""
NEW_FIXES: LiteralString = """
insert into edge.time_fix (tenant, site, gateway, boot, offset_ms, uncertainty_ms, said_in, said_at)
select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[])
on conflict do nothing
"""

EPOCH: LiteralString = """
insert into edge.epoch (tenant, site, gateway, epoch, start_no) values (%s, %s, %s, %s, %s)
on conflict (tenant, site, gateway, epoch) do update
set start_no = coalesce(edge.epoch.start_no, excluded.start_no)
"""
DOCUMENT: LiteralString = """
insert into edge.document as held (tenant, site, gateway, kind, body) values (%s, %s, %s, %s, %s::jsonb)
on conflict (tenant, site, gateway, kind) do update
set body = excluded.body, received = excluded.received
-- the late death of an old connection does not mark a newer life offline
where %s or held.body ->> 'epoch' = excluded.body ->> 'epoch'
"""

CONFLICT: LiteralString = """
insert into edge.conflict as c (series, seq0, n, h, held_n, held_h, body) values (%s, %s, %s, %s, %s, %s, %s)
on conflict (series, seq0, n, h) do update set times = c.times + 1
"""
DEAD_LETTER: LiteralString = """
insert into edge.dead_letter as d (sha256, topic, code, why, body) values (%s, %s, %s, %s, %s)
on conflict (sha256) do update set times = d.times + 1, last_seen = now()
"""
