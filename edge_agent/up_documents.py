"""What the broker keeps of this gateway: how it is (`up/health`), and what it runs (`up/reported`)."""

from __future__ import annotations

from typing import Any

from edge_agent import __version__, machine
from edge_agent.contract import documents, messages
from edge_agent.contract.rows import milliseconds, time_quality
from edge_agent.control import Observed
from edge_agent.metrics import Histogram
from edge_agent.store.database import SQLITE_VERSION
from edge_agent.store.inspection import bytes_of, wal_of
from edge_agent.types import ModelRef


def health_document(agent: Observed, trouble: list[str], uptime_s: float) -> documents.Health:
    now = agent.clock.now()
    return documents.Health(
        gw=agent.assembly.site.agent.gateway,
        epoch=agent.writer.epoch,
        start_no=agent.writer.start_no,
        boot=now.boot,
        t=agent.timekeeper.utc_ms(now),
        m=milliseconds(now.mono_ns),
        tq=time_quality(now.quality),
        version=__version__,
        uptime_s=uptime_s,
        ok=not trouble,
        trouble=trouble,
        rung=agent.engine.rung,
        alerts=len(agent.engine.raised()),
        store=_store(agent),
        outbox=documents.OutboxHealth(**agent.backlog.to_dict()),
        dropped=agent.committed.lost,
        engine=documents.EngineHealth(
            handled=agent.runner.handled,
            shed=sum(agent.inbox.shed().values()),
            latency=_quantiles(agent.runner.latency),
        ),
        workers=[_worker(agent, name) for name in agent.lanes],
        machine=documents.Machine(
            temperature_c=machine.temperature_c(), load_1m=machine.load_1m(), rss_bytes=machine.rss_bytes()
        ),
        disk=_disk(agent),
        flash=documents.FlashHealth(**agent.flash.to_dict()),
        clock=_clock(agent),
        budget=_budget(agent),
        parts=[part.to_dict(now.mono_ns) for part in agent.health.parts()],
    )


def reported_document(agent: Observed, desired_refused: str = "") -> documents.Reported:
    site, now = agent.assembly.site, agent.clock.now()
    return documents.Reported(
        gw=site.agent.gateway,
        epoch=agent.writer.epoch,
        start_no=agent.writer.start_no,
        t=agent.timekeeper.utc_ms(now),
        tq=time_quality(now.quality),
        version=__version__,
        site_sha256=agent.assembly.sha256,
        sources={source.name: source.kind for source in site.source},
        actuators={actuator.name: actuator.kind for actuator in site.actuator},
        models={name: _model(package.ref) for name, package in agent.assembly.packages.items()},
        rules={rule: plan.sha256 for rule, plan in agent.assembly.plan.rule_plans.items()},
        desired_refused=desired_refused,
    )


def _clock(agent: Observed) -> documents.ClockHealth:
    told = agent.timekeeper.to_dict()
    del told["boot"]
    return documents.ClockHealth(**told)


def _budget(agent: Observed) -> documents.BudgetHealth | None:
    told = agent.uplink.to_dict() if agent.uplink else {}
    budget = told.get("budget")
    if budget is None:
        return None
    del budget["upkeep_bytes"]
    return documents.BudgetHealth(**budget, thinned=told["thinned"])


def _store(agent: Observed) -> documents.StoreHealth:
    path, tally = agent.writer.path, agent.committed
    return documents.StoreHealth(
        sqlite=SQLITE_VERSION,
        database_bytes=bytes_of(path),
        wal_bytes=bytes_of(wal_of(path)),
        quota_bytes=agent.writer.limits.quota_bytes,
        commits=tally.commits,
        readings=tally.readings,
        failing=agent.store.failing,
    )


def _disk(agent: Observed) -> documents.Disk | None:
    found = machine.disk_bytes(agent.writer.path.parent)
    return None if found is None else documents.Disk(total_bytes=found[0], free_bytes=found[1])


def _worker(agent: Observed, name: str) -> documents.WorkerHealth:
    part, state = agent.health.part(f"lane:{name}"), agent.engine.lanes()[name]
    return documents.WorkerHealth(
        lane=name,
        model=_model(agent.assembly.packages[name].ref),
        trust=state.trust,
        fresh=state.fresh,
        up=part.up,
        counts=part.counts(),
        latency=_quantiles(agent.lanes[name].latency),
    )


def _model(ref: ModelRef) -> messages.Model:
    return messages.Model(name=ref.name, version=ref.version, sha256=ref.sha256)


def _quantiles(histogram: Histogram) -> documents.Quantiles:
    found: dict[str, Any] = histogram.to_dict()
    return documents.Quantiles(**found)
