"""`edge-agent store export`: what the database holds, for a spreadsheet, a program, or another database."""

from __future__ import annotations

import itertools
import sys
import time
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

import click

from edge_agent.cli import agent_socket, beside, progress, show, store_file
from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.store.exporting import Export, Record

_KINDS = ("readings", "predictions", "decisions", "alerts", "ledger")
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".db": "sqlite", ".sqlite": "sqlite"}


class Instant(click.ParamType[int]):
    """RFC 3339, as milliseconds UTC."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            self.fail(f"{show.safe(value)!r} is no RFC 3339 time, such as 2026-11-28T08:00:00Z", param, ctx)
        return round(at.timestamp() * 1000)


class Since(click.ParamType[int]):
    """A duration before now, in milliseconds."""

    name = "DURATION"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        from edge_agent.durations import DurationError, parse_duration

        try:
            return parse_duration(value) // 1_000_000
        except DurationError as e:
            self.fail(str(e), param, ctx)


@click.command("export")
@agent_socket.site_argument
@store_file.data_dir_option
@store_file.file_option
@click.option("-o", "--output", type=show.PATH, help="A new file; default: standard output.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "sqlite"]), help="Default: by the name, or csv.")
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Default: readings. Repeatable.")
@click.option("--stream", "streams", multiple=True, help="Only this one, of whatever kind. Repeatable.")
@click.option("--since", "since_ms", type=Since(), help="What is younger: 30m, 2h, 7d.")
@click.option("--from", "from_ms", type=Instant(), help="RFC 3339, such as 2026-11-28T08:00:00Z.")
@click.option("--to", "to_ms", type=Instant(), help="The same; this instant is not included.")
@click.option("--limit", type=click.IntRange(1, 100_000_000), help="At most so many records.")
@show.json_option
def command(
    site: Path | None, data_dir: Path | None, file: Path | None, output: Path | None, force: bool, form: str | None,
    kinds: tuple[str, ...], streams: tuple[str, ...], since_ms: int | None, from_ms: int | None, to_ms: int | None,
    limit: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Write readings, or what else the store of SITE holds, as CSV, JSON lines or an SQLite file.

    A record has its time (UTC), stream, epoch, number, and its fields with their units. Only reads, a few rows at a
    time: safe beside a running agent. A file is whole or not there: it is written beside its name, then renamed.
    With --output, --json prints how much was written.

    Exit codes: 0 done; 1 the store cannot be read, or rows were damaged and left out; 2 wrong usage, or a stream
    that it does not have; 3 there is no store.
    """
    from edge_agent.store.checking import Progress
    from edge_agent.store.exporting import Wanted, export_of

    form = _form(form, output)
    _check_usage(output, since_ms, from_ms, to_ms, form, as_json)
    path = store_file.store_file(site, data_dir, file)
    if output is not None:
        beside.refuse_target(output, force=force)
        store_file.refuse_among_the_agents(output, path)
    if since_ms is not None:
        from_ms = time.time_ns() // 1_000_000 - since_ms
    chosen = frozenset(kinds or (_KINDS if streams else ("readings",)))
    wanted = Wanted(chosen, frozenset(streams), from_ms, to_ms)
    with (
        store_file.there(path),
        progress.shown("rows") as bar,
        export_of(path, wanted, Progress(bar.began, bar.went)) as export,
    ):
        if streams:
            _refuse_unknown(streams, export.streams(), kinds)
        records = _write(export, form, output, force, limit)
        damaged = export.damaged
    _say(records, damaged, output, form, as_json)


def _form(form: str | None, output: Path | None) -> str:
    return form or _ENDINGS.get(output.suffix.lower() if output else "", "csv")


def _check_usage(
    output: Path | None, since_ms: int | None, from_ms: int | None, to_ms: int | None, form: str, as_json: bool
) -> None:
    if since_ms is not None and from_ms is not None:
        raise click.UsageError("--since and --from say the same: give one")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise click.UsageError("--to is not after --from")
    if form == "sqlite" and output is None:
        raise click.UsageError("an SQLite file needs --output FILE")
    if as_json and output is None:
        raise click.UsageError("--json says how much was written to --output FILE; for records, --format jsonl")


def _refuse_unknown(streams: tuple[str, ...], known: frozenset[str], kinds: tuple[str, ...]) -> None:
    from edge_agent.config.nearest import did_you_mean

    among = f" among its {', '.join(kinds)}" if kinds else ""
    for stream in streams:
        if stream not in known:
            hint = did_you_mean(stream, known, "edge-agent store stats lists the streams")
            raise Fatal(f'the store has no stream "{stream}"{among}', hint=hint, exit_code=ExitCode.CONFIGURATION)


def _write(export: Export, form: str, output: Path | None, force: bool, limit: int | None) -> int:
    from edge_agent.cli import store_formats

    taken = itertools.islice(export.records(), limit)

    def write(records: Iterator[Record], text: IO[str]) -> int:
        if form == "csv":
            return store_formats.write_csv(export, records, text)
        return store_formats.write_jsonl(records, text)

    if output is None:
        return write(taken, sys.stdout)
    with beside.whole_file(output, force=force) as part:
        if form == "sqlite":
            return store_formats.write_sqlite(taken, part)
        with part.open("wb") as binary, store_formats.text_over(binary) as text:
            return write(taken, text)


def _say(records: int, damaged: int, output: Path | None, form: str, as_json: bool) -> None:
    if as_json:
        document = {"ok": not damaged, "output": str(output), "format": form, "records": records}
        show.echo_json({**document, "damaged_rows": damaged})
    elif output is not None:
        click.echo(f"{show.mark(not damaged)} {show.counted(records, 'record')} in {show.safe(output)}")
    if damaged:
        told = f"{show.counted(damaged, 'damaged row')} left out; which ones: edge-agent store check"
        click.echo(told, err=True)
        sys.exit(ExitCode.FAILURE)
