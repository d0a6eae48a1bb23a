"""`edge-agent store stats`: what the database holds, by priority and by stream, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import agent_socket, progress, show, store_file
from edge_agent.cli.page import Line, Section, laid_out

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store.reader import PriorityView
    from edge_agent.store.statistics import Statistics

_KINDS = ("alerts, decisions", "predictions", "telemetry")
_SHOWN_STREAMS = 40


@click.command("stats")
@agent_socket.site_argument
@store_file.data_dir_option
@store_file.file_option
@show.json_option
def command(site: Path | None, data_dir: Path | None, file: Path | None, as_json: bool) -> None:
    """Count what the store of SITE holds: rows, readings and bytes by priority and by stream, what waits, what was
    lost and why, what was set aside.

    Only reads, in short transactions: safe beside a running agent.

    Exit codes: 0 done; 1 the store cannot be read; 2 wrong usage; 3 there is no store.
    """
    import msgspec

    from edge_agent.store.checking import Progress
    from edge_agent.store.statistics import statistics_of

    path = store_file.store_file(site, data_dir, file)
    with store_file.there(path), progress.shown("rows") as bar:
        found = statistics_of(path, Progress(bar.began, bar.went))
    document: dict[str, Any] = {"file": str(path), **msgspec.to_builtins(found)}
    if as_json:
        show.echo_json(document)
    else:
        page = _page(found, path, time.time_ns() // 1_000_000)
        click.echo("\n".join(laid_out(page, show.width(), colour=show.in_colour())))


def _page(found: Statistics, path: Path, now_ms: int) -> list[Section]:
    return [
        Section("store", list(_file(found, path))),
        Section("kept", [_kept(v, b, now_ms) for v, b in zip(found.priorities, found.body_bytes, strict=True)]),
        Section("streams", list(_streams(found))),
        Section("lost", [Line(reason, text=show.counted(n, "number")) for reason, n in sorted(found.gaps.items())]),
        Section("refused", [Line(code, text=show.counted(n, "row")) for code, n in found.dead_letters.items()]),
        Section("aside", [Line(aside.name, text=show.size(aside.bytes)) for aside in found.aside]),
        Section("next", list(_next(found))),
    ]


def _file(found: Statistics, path: Path) -> Iterator[Line]:
    yield Line(text=f"{path}, opened {found.opened}")
    free = f", {show.size(found.free_bytes)} of it free" if found.free_bytes else ""
    yield Line(text=f"database {show.size(found.database_bytes)}{free}; -wal {show.size(found.wal_bytes)}")
    yield Line(text=show.counted(found.epochs, "epoch") + ", one for each start of the agent")
    if found.body_bytes_per_day is not None and found.span_s is not None:
        told = f"{show.size(found.body_bytes_per_day)} of messages a day, over {show.age(found.span_s)}"
        yield Line(text=f"{told}; what the device writes for them: edge-agent status")


def _kept(view: PriorityView, body_bytes: int, now_ms: int) -> Line:
    said = f"{show.counted(view.rows, 'row')}, {show.counted(view.readings, 'reading')}, {show.size(body_bytes)}"
    if view.oldest_ms is not None:
        said += f", the oldest {show.ago((now_ms - view.oldest_ms) / 1e3)}"
    if view.waiting_rows:
        said += f"; {view.waiting_rows:,} not delivered yet"
    return Line(_KINDS[view.prio], text=said)


def _streams(found: Statistics) -> Iterator[Line]:
    biggest = sorted(found.streams, key=lambda use: -use.bytes)
    for use in biggest[:_SHOWN_STREAMS]:
        epochs = f", {show.counted(use.epochs, 'epoch')}" if use.epochs > 1 else ""
        said = f"{show.counted(use.readings, 'reading')} in {show.counted(use.rows, 'row')}"
        yield Line(use.stream, text=f"{said}, {show.size(use.bytes)}{epochs}")
    if (left := len(biggest) - _SHOWN_STREAMS) > 0:
        yield Line(text=f"and {left} more, see --json")


def _next(found: Statistics) -> Iterator[Line]:
    if found.unreadable_rows:
        yield Line(text=f"{show.counted(found.unreadable_rows, 'row')} cannot be read: edge-agent store check")
    if found.free_bytes > found.database_bytes // 4 and found.free_bytes > 1_000_000:
        yield Line(text="to give the free bytes back to the volume: edge-agent store compact")
