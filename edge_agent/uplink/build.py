"""From the site file to the uplink's thread."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from edge_agent.config.site import SiteConfig, size_bytes
from edge_agent.contract import topics
from edge_agent.durations import parse_duration
from edge_agent.health import PartHealth
from edge_agent.ports import Clock, Inbound, Outbox, Reply, Uplink
from edge_agent.types import Event
from edge_agent.uplink.body import UplinkBody
from edge_agent.uplink.budget import Limits
from edge_agent.uplink.drain import Drain, Policy
from edge_agent.uplink.file import FileUplink
from edge_agent.uplink.metering import Meter
from edge_agent.uplink.mqtt import Identity, MqttUplink


def make_uplink(
    site: SiteConfig, epoch: str, start_no: int, outbox: Outbox, *, clock: Clock, health: PartHealth,
    post: Callable[[list[Event]], None], inbound: Callable[[Inbound], None], rng: random.Random,
    schemas: dict[str, str] | None = None, replies: Callable[[], list[Reply]] = list,
) -> UplinkBody | None:  # fmt: skip
    """None for `kind = "none"`. `schemas`: name and hash of each message shape, told at birth."""
    if site.uplink.kind == "none":
        return None
    gateway = topics.Gateway(site.agent.tenant, site.agent.site, site.agent.gateway)
    policy = policy_of(site)

    def transport() -> Uplink:
        if site.uplink.kind == "file":
            assert site.uplink.dir is not None
            return FileUplink(site.uplink.dir, gateway, epoch)
        identity = Identity(gateway, epoch, start_no, schemas or {})
        return MqttUplink(site.uplink, identity, counters=health, rng=rng)

    meter = _meter(site, outbox, clock)

    def drain() -> Drain:
        return Drain(outbox, policy, meter)

    return UplinkBody(
        transport, drain, clock=clock, health=health, post=post, inbound=inbound, meter=meter, replies=replies
    )


def _meter(site: SiteConfig, outbox: Outbox, clock: Clock) -> Meter | None:
    """What the link may cost, where the site says so: a medium that somebody carries costs nothing."""
    budget = site.uplink.budget
    if budget is None or site.uplink.kind != "mqtt":
        return None
    per_day = size_bytes(budget.per_day)
    reserve = per_day // 10 if budget.reserve is None else min(size_bytes(budget.reserve), per_day)
    limits = Limits(per_day, reserve, site.uplink.keepalive_s, 6000 if site.uplink.tls else 600)
    path = Path(site.agent.data_dir) / "budget.json"
    return Meter(
        limits, outbox, path, clock.boot, clock.mono_ns(), interfaces=budget.interfaces, thin=budget.thin
    )  # fmt: skip


def policy_of(site: SiteConfig) -> Policy:
    """A folder answers for itself: whatever `delivery.ack` says, no backend speaks through it."""
    return Policy(
        backend=site.delivery.ack == "backend" and site.uplink.kind == "mqtt",
        resend_after_ns=parse_duration(site.delivery.resend_after),
        backlog_rate=site.uplink.backlog_rate,
        slow_after_ns=None if site.uplink.kind == "file" else Policy().slow_after_ns,
    )
