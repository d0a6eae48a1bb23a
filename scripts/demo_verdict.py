"""The demo's verdict, computed from three witnesses: the device, the agent's database, the backend."""

from __future__ import annotations

from typing import Any

import msgspec

P99_MOST_MS = 100.0
"""Half of the models' deadline: a rule that had waited for the hanging model would show all of it. The slack is for a
busy machine; `scripts/bench latency` measures the promise itself."""


class Verdict(msgspec.Struct, frozen=True):
    """`produced`, by the device's own count; `committed`, readings of its stream in the database; `delivered`, those
    that the backend holds, each once; `gaps`, declared losses; `duplicated`, keys of which the backend kept two
    versions; `resent`, deliveries that it recognised as repetitions. The streams of both models, of decisions and
    alerts are held to the same: `lost` counts them too."""

    produced: int
    committed: int
    delivered: int
    lost: int
    duplicated: int
    gaps: int
    resent: int
    received_all_streams: int
    rule_p99_ms: dict[str, float | None]
    actions: int
    rungs: list[str]
    failures: list[str]
    seconds: float
    ok: bool


def judge(
    *, device: dict[str, int], committed: int, delivered: int, tally: Any, seen: Any, agent_exit: int, orphans: int,
    seconds: float,
) -> Verdict:  # fmt: skip
    produced = device.get("produced", 0)
    p99 = seen.rule_p99_ms()
    lost = tally.lost + max(produced - committed - tally.gaps, 0)
    checks = {
        "the device produced nothing": produced == 0,
        f"{lost} readings were lost": lost != 0,
        f"{delivered} of {committed} committed readings were delivered": delivered != committed,
        f"{tally.conflicts} keys came with two contents": tally.conflicts != 0,
        f"{tally.refused} messages were malformed": tally.refused != 0,
        f"the device was overrun {device.get('overrun')} times": device.get("overrun", 0) != 0,
        "no action reached the device": device.get("commands", 0) == 0,
        "no worker was killed": seen.killed == 0,
        "no breaker opened": not seen.breaker_opened,
        "the rung never changed": "rules-only" not in seen.rungs,
        f"the engine stood still {seen.stalls} times": seen.stalls != 0,
        f"a phase has no rule latency: {p99}": None in p99.values(),
        f"rules waited: {p99}": any(v is not None and v > P99_MOST_MS for v in p99.values()),
        f"the agent ended with {agent_exit}": agent_exit != 0,
        f"{orphans} worker processes were left behind": orphans != 0,
    }
    failures = [text for text, failed in checks.items() if failed]
    return Verdict(
        produced, committed, delivered, lost, tally.conflicts, tally.gaps, tally.duplicates, tally.received, p99,
        device.get("commands", 0), seen.rungs, failures, round(seconds, 1), not failures,
    )  # fmt: skip


def lines(verdict: Verdict) -> list[str]:
    p99 = {name: "—" if value is None else f"{value:.2f} ms" for name, value in verdict.rule_p99_ms.items()}
    return [
        f"produced by the device    {verdict.produced:>8,}",
        f"committed to SQLite       {verdict.committed:>8,}",
        f"delivered to the backend  {verdict.delivered:>8,}   (all streams: {verdict.received_all_streams:,})",
        f"declared gaps             {verdict.gaps:>8,}",
        f"lost                      {verdict.lost:>8,}",
        f"duplicated                {verdict.duplicated:>8,}   (resent and recognised: {verdict.resent:,})",
        f"actions at the device     {verdict.actions:>8,}",
        f"rungs                     {' > '.join(verdict.rungs)}",
        f"rule p99   healthy {p99['healthy']}, model hung {p99['hung']}, model dead {p99['dead']}",
        *(f"FAILED: {failure}" for failure in verdict.failures),
        "VERDICT: " + ("nothing lost, nothing doubled, rules never waited" if verdict.ok else "it does not hold"),
    ]
