-- What gateways deliver. A reading is (tenant, site, gateway, epoch, stream, seq); the first five are one `series`.

create table edge.series (
    id bigint generated always as identity primary key,
    tenant text not null,
    site text not null,
    gateway text not null,
    epoch text not null,
    stream text not null,
    first_seen timestamptz not null default now(),
    unique (tenant, site, gateway, epoch, stream)
);

-- Births of a gateway: epochs are ordered by start_no, never by their text or by a clock.
create table edge.epoch (
    tenant text not null,
    site text not null,
    gateway text not null,
    epoch text not null,
    start_no bigint,
    primary key (tenant, site, gateway, epoch)
);

-- Every numbered thing that was received, in the ranges in which it was sent; their borders never change, so this
-- key is what makes a repetition a repetition, and `h` is what tells it from a conflict. Segments are kept when
-- readings are deleted for their age: what was received stays proved. No foreign keys here and below where rows come
-- by the thousand: checking one costs more than the row, and series are never deleted.
create table edge.segment (
    series bigint not null,
    seq0 bigint not null,
    n integer not null check (n > 0),
    h bigint not null,
    boot text not null,
    tq text not null,
    received timestamptz not null default now(),
    primary key (series, seq0)
);

create table edge.reading (
    series bigint not null,
    seq bigint not null,
    t timestamptz,
    m bigint not null,
    fields jsonb not null,
    quality jsonb,
    primary key (series, seq)
);

-- Predictions, decisions, alerts, ledger entries, and what a later version may add: whole, as they came.
create table edge.event (
    series bigint not null,
    seq bigint not null,
    kind text not null,
    t timestamptz,
    m bigint,
    body jsonb not null,
    primary key (series, seq)
);

-- Numbers that will not come, and the ledger entry that says so.
create table edge.gap (
    series bigint not null references edge.series,
    first bigint not null,
    last bigint not null check (last >= first),
    reason text not null,
    said_in bigint not null references edge.series,
    said_at bigint not null,
    primary key (series, first, last, said_in, said_at)
);

-- The last number of a stream of an epoch that has ended. `lost`: only known to have been reached.
create table edge.closing (
    series bigint not null references edge.series,
    last bigint not null,
    lost text not null,
    said_in bigint not null references edge.series,
    said_at bigint not null,
    primary key (series, said_in, said_at)
);

create table edge.time_fix (
    tenant text not null,
    site text not null,
    gateway text not null,
    boot text not null,
    offset_ms bigint not null,
    uncertainty_ms bigint not null,
    said_in bigint not null references edge.series,
    said_at bigint not null,
    primary key (said_in, said_at)
);
create index on edge.time_fix (tenant, site, gateway, boot);

-- The same number with another content, or a range that cuts across one that is held. The first that came counts.
create table edge.conflict (
    id bigint generated always as identity primary key,
    series bigint not null references edge.series,
    seq0 bigint not null,
    n integer not null,
    h bigint not null,
    held_n integer,
    held_h bigint,
    times bigint not null default 1,
    first_seen timestamptz not null default now(),
    body bytea not null,
    unique (series, seq0, n, h)
);

-- Messages that are none, or that cannot be stored, as they came.
create table edge.dead_letter (
    sha256 bytea primary key,
    topic text not null,
    code text not null,
    why text not null,
    times bigint not null default 1,
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    body bytea not null
);

-- The newest of what is state: `state`, `health`, `reported`.
create table edge.document (
    tenant text not null,
    site text not null,
    gateway text not null,
    kind text not null,
    body jsonb not null,
    received timestamptz not null default now(),
    primary key (tenant, site, gateway, kind)
);
