"""What several benchmarks run on: a plan of many streams, its readings, a store."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from edge_agent.clock import SystemClock
from edge_agent.config.site import AgentConfig, RuleConfig, SignalConfig, SiteConfig, SourceConfig
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.plan import Plan, make_plan
from edge_agent.ports import FieldSpec
from edge_agent.store.body import StoreBody
from edge_agent.store.opening import open_store
from edge_agent.store.writer import Writer
from edge_agent.types import Reading, Stamp


class _NoConfig(msgspec.Struct, frozen=True):
    pass


def bench_plan(streams: int, *, rules: int) -> Plan:
    """`streams` fields with a 30 s mean each; every rule reads one field and the mean of the next."""
    names = [f"s{i:02d}" for i in range(streams)]
    site = SiteConfig(
        agent=AgentConfig(gateway="bench"),
        source=tuple(SourceConfig(name=name, kind="any", driver=_NoConfig()) for name in names),
        signal=tuple(SignalConfig(name=f"{n}.mean", of=f"{n}.temp", fn="mean", window="30s") for n in names),
        rule=tuple(
            RuleConfig(id=f"r{i}", when=f"s{i:02d}.temp > 26 || s{i + 1:02d}.mean > 24", for_="2s",
                       clear=f"s{i:02d}.temp < 22") for i in range(rules)
        ),
    )  # fmt: skip
    return make_plan(site, {name: {"temp": FieldSpec(unit="Cel", min=-100, max=200)} for name in names}, {})[0]


def streams_site(streams: int, *, rules: int, group: str = "all") -> tuple[str, list[bytes]]:
    """The same as tables of a site file, over one serial port `{folder}/port`; and what its device sends."""
    rng = random.Random(1)
    names = [f"s{i:02d}" for i in range(streams)]
    lines = [b'{"stream":"%s","temp":%.2f}\n' % (n.encode(), 20 + rng.gauss(0, 2)) for _ in range(20) for n in names]
    listed = ", ".join(f'{n} = "{n}"' for n in names)
    source = f'''
[[source]]
name = "port"
kind = "serial_lines"
device = "{{folder}}/port"
group = "{group}"
stream_key = "stream"
streams = {{ {listed} }}
[source.fields]
'''
    fields = "".join(f'"{n}.temp" = {{ unit = "Cel", min = -100, max = 200 }}\n' for n in names)
    signals = "".join(
        f'[[signal]]\nname = "{n}.mean"\nof = "{n}.temp"\nfn = "mean"\nwindow = "30s"\n' for n in names
    )
    ruled = "".join(
        f'[[rule]]\nid = "r{i}"\nwhen = "s{i:02d}.temp > 40 || s{i + 1:02d}.mean > 30"\nfor = "2s"\n'
        for i in range(rules)
    )
    return source + fields + signals + ruled, lines


def readings(rng: random.Random, streams: int, hz: int, second: int) -> list[Reading]:
    """One second of readings in order of time, as the bare loops have them."""
    out = []
    for k in range(hz):
        for i in range(streams):
            ns = 5_123_456_000_000 + second * 1_000_000_000 + k * 1_000_000_000 // hz + i * 1000
            value = round(20 + rng.gauss(0, 2), 2)
            out.append(Reading(f"s{i:02d}", Stamp(ns, 1_767_225_600_000_000_000 + ns, boot="b"), {"temp": value}))
    return out


def make_store(folder: Path, clock: SystemClock) -> tuple[Writer, StoreBody]:
    writer = open_store(folder, gateway="bench", quota_bytes=2_000_000_000, clock=clock)
    return writer, StoreBody(writer, clock=clock, describe=describe_bench)


def describe_bench(_stream: str) -> StreamSpec:
    return StreamSpec("all", {"temp": "Cel"})
