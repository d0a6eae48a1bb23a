-- Per (gateway, stream, epoch): received, declared, and what is neither. Numbers of a stream start at 0, so a hole is
-- provable up to `last_known`: the highest number that was received, declared or named by the closing of the epoch.
-- `closed` says whether that closing has come: only then is the tail of the epoch proved too.
create view edge.completeness as
with received as (
    select series, range_agg(int8range(seq0, seq0 + n)) as ranges, sum(n) as n, max(seq0 + n - 1) as last
    from edge.segment group by series
), declared as (
    select series, range_agg(int8range(first, last + 1)) as ranges, max(last) as last
    from edge.gap group by series
), closing as (
    select series, max(last) as last, bool_or(lost = '') as whole
    from edge.closing group by series
), known as (
    select s.id as series, s.tenant, s.site, s.gateway, s.epoch, s.stream,
        coalesce(r.n, 0)::bigint as received,
        coalesce(r.ranges, '{}'::int8multirange) as received_ranges,
        coalesce(d.ranges, '{}'::int8multirange) as declared_ranges,
        greatest(r.last, d.last, c.last) as last_known,
        coalesce(c.whole, false) as closed
    from edge.series s
    left join received r on r.series = s.id
    left join declared d on d.series = s.id
    left join closing c on c.series = s.id
), proved as (
    select k.*,
        declared_ranges - received_ranges as declared_only,
        int8multirange(int8range(0, coalesce(last_known, -1) + 1)) - received_ranges - declared_ranges as holes
    from known k
)
select p.tenant, p.site, p.gateway, p.epoch, e.start_no, p.stream, p.series, p.received,
    coalesce((select sum(upper(r) - lower(r)) from unnest(declared_only) r), 0)::bigint as declared,
    coalesce((select sum(upper(r) - lower(r)) from unnest(holes) r), 0)::bigint as missing,
    p.holes, p.last_known, p.closed,
    p.closed and isempty(p.holes) as proved_complete
from proved p
left join edge.epoch e using (tenant, site, gateway, epoch);

-- Readings with their names, and with their time set right where a time fix has said how.
create view edge.reading_at as
select s.tenant, s.site, s.gateway, s.epoch, s.stream, r.seq,
    case when g.tq <> 'synced' and f.offset_ms is not null
        then to_timestamp((r.m + f.offset_ms) / 1000.0) else r.t end as t,
    case when g.tq <> 'synced' and f.offset_ms is not null then 'fixed' else g.tq end as tq,
    r.m, g.boot, r.fields, r.quality
from edge.reading r
join edge.series s on s.id = r.series
join lateral (
    select tq, boot from edge.segment where series = r.series and seq0 <= r.seq order by seq0 desc limit 1
) g on true
left join lateral (
    select fix.offset_ms
    from edge.time_fix fix
    join edge.series said on said.id = fix.said_in
    left join edge.epoch e on (e.tenant, e.site, e.gateway, e.epoch) = (said.tenant, said.site, said.gateway, said.epoch)
    where (fix.tenant, fix.site, fix.gateway, fix.boot) = (s.tenant, s.site, s.gateway, g.boot)
    order by e.start_no desc nulls last, said.epoch desc, fix.said_at desc limit 1
) f on true;
