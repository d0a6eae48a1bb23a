"""What the database holds while no agent answers, as a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.cli.page import Line, Section
from edge_agent.cli.show import age, ago, counted, size

if TYPE_CHECKING:
    from edge_agent.contract.messages import Alerted, Decided
    from edge_agent.store.reader import PriorityView, StoreView

_HOW = {
    "read-only": "read-only beside whatever else has it open (mode=ro)",
    "immutable": "as a file that nobody writes (immutable=1)",
}
_KINDS = ("alerts, decisions", "predictions", "telemetry")
_SHOWN = 5


def stored_page(store: StoreView, directory: str, why: str, hint: str, now_ms: int) -> list[Section]:
    """`why` no agent answers, and what to type."""
    return [
        Section("DOWN", [Line(text=why), Line(text=f"to start it: {hint}")], "bad"),
        Section("store", list(_store(store, directory, now_ms))),
        Section("kept", [_kept(view, now_ms) for view in store.priorities]),
        Section("alerts", [_alert(alert, now_ms) for alert in _latest(store.alerts)[:_SHOWN]]),
        Section("decisions", [_decision(decision, now_ms) for decision in store.decisions[:_SHOWN]]),
        Section("losses", list(_losses(store))),
    ]


def _store(store: StoreView, directory: str, now_ms: int) -> Iterator[Line]:
    yield Line(text=f"{directory}, opened {_HOW[store.opened]}")
    yield Line(text=f"{size(store.database_bytes + store.wal_bytes)}, SQLite {store.sqlite}")
    if store.epochs:
        newest = store.epochs[0]
        yield Line(text=f"last start: number {newest.start_no}, {ago((now_ms - newest.started_ms) / 1e3)}")


def _kept(view: PriorityView, now_ms: int) -> Line:
    newest = f", the newest {_ago(view.newest_ms, now_ms)}" if view.newest_ms is not None else ""
    said = f"{counted(view.rows, 'row')}{newest}"
    if view.waiting_rows:
        oldest = "" if view.oldest_waiting_ms is None else f", the oldest for {_age(view.oldest_waiting_ms, now_ms)}"
        said += f"; {view.waiting_rows:,} not delivered yet{oldest}"
    return Line(_KINDS[view.prio], "", "", said)


def _latest(alerts: list[Alerted]) -> list[Alerted]:
    """What became of each alert, newest first; those that are not cleared before all others."""
    by_id: dict[str, Alerted] = {}
    for alert in alerts:
        by_id.setdefault(alert.alert_id, alert)
    return sorted(by_id.values(), key=lambda alert: alert.state == "cleared")


def _alert(alert: Alerted, now_ms: int) -> Line:
    tone = "" if alert.state == "cleared" else "odd"
    return Line("", alert.state, tone, f"{_ago(alert.t, now_ms)}: {alert.severity}, {alert.text}")


def _decision(decision: Decided, now_ms: int) -> Line:
    return Line("", decision.outcome, "", f"{_ago(decision.t, now_ms)}: {decision.rule.id}")


def _losses(store: StoreView) -> Iterator[Line]:
    for gap in store.gaps[:_SHOWN]:
        yield Line(text=f"{counted(gap.count, 'number')} of {gap.stream} lost ({gap.reason}), declared")
    if store.dead_letters:
        yield Line(text=f"{counted(store.dead_letters, 'row')} refused by the other side, put aside")
    for name in store.aside:
        yield Line(text=f"a damaged store was moved aside: {name}")


def _ago(at_ms: int | None, now_ms: int) -> str:
    return ago(None if at_ms is None else (now_ms - at_ms) / 1e3)


def _age(at_ms: int, now_ms: int) -> str:
    return age(max(now_ms - at_ms, 0) / 1e3)
