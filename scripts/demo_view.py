"""How the demo is shown: a live view on a terminal, a line every few seconds elsewhere, nothing on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from demo_story import Seen, Story
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_EVERY_S = 5.0
_GOOD = {True: ("OK", "green"), False: ("DOWN", "red"), None: ("…", "yellow")}


def show(steps: Iterable[Seen], story: Story, *, seconds: float) -> None:
    """Runs the steps to their end, and shows them meanwhile."""
    console = Console(stderr=True)
    if not console.is_terminal:
        _plain(steps, story)
        return
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        for seen in steps:
            live.update(_picture(seen, (time.monotonic() - story.began_s) / seconds))


def _plain(steps: Iterable[Seen], story: Story) -> None:
    due_s = 0.0
    for seen in steps:
        now = time.monotonic()
        for event in seen.events[seen.told :]:
            print(event, file=sys.stderr, flush=True)
        seen.told = len(seen.events)
        if now >= due_s:
            due_s = now + _EVERY_S
            status = seen.status
            uplink = "connected" if status.get("uplink", {}).get("connected") else "no broker"
            kept = status.get("store", {}).get("readings", 0)
            said = f"{now - story.began_s:5.1f} s  {seen.phase}: {kept} readings kept"
            print(f"{said}, {uplink}, rung {status.get('rung', '—')}", file=sys.stderr, flush=True)


def _picture(seen: Seen, share: float) -> Panel:
    status = seen.status
    head = Text(f"{seen.phase}", style="bold")
    bar = ProgressBar(total=1.0, completed=min(max(share, 0.0), 1.0), width=72)
    events = Text("\n".join(seen.events[-6:]) or "…", style="dim")
    return Panel(Group(head, bar, _table(status), events), title="Edge Agent demo", width=78)


def _table(status: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    latency = status.get("engine", {}).get("latency", {})
    store, uplink = status.get("store", {}), status.get("uplink", {})
    table.add_row("rung", Text(status.get("rung", "—"), style="bold"))
    for lane in status.get("lanes", ()):
        trust = lane["trust"]
        table.add_row(f"model {lane['name']}", _word(trust == "trusted", trust), lane["model"])
    for source in status.get("sources", ()):
        table.add_row(f"source {source['name']}", _word(source["up"]), f"{source['counts'].get('items', 0):,} items")
    reason = "" if uplink.get("connected") else str(uplink.get("reason", ""))[:40]
    table.add_row("network", _word(uplink.get("connected")), reason)
    raised = [rule for rule, phase in status.get("rules", {}).items() if phase == "raised"]
    table.add_row("rules", f"p99 {latency.get('p99_ms', 0):.2f} ms", f"raised: {', '.join(raised) or 'none'}")
    waiting = uplink.get("backlog_rows", uplink.get("waiting", ""))
    table.add_row("kept", f"{store.get('readings', 0):,} readings", f"{waiting} rows wait" if waiting != "" else "")
    return table


def _word(good: bool | None, word: str = "") -> Text:
    text, colour = _GOOD[good]
    return Text(word or text, style=colour)
