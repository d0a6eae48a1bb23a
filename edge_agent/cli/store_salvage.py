"""`edge-agent store salvage`: what a damaged store file still holds, into a file of its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from edge_agent.cli import beside, progress, show, store_file
from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path


@click.command("salvage")
@click.argument("file", type=show.PATH)
@click.option("-o", "--output", type=show.PATH, required=True, help="A new file: .jsonl, or .db for SQLite.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@show.json_option
def command(file: Path, output: Path, force: bool, as_json: bool) -> None:
    """Write every whole row of FILE, a store that was set aside or any other, as JSON lines or an SQLite file.

    Reads page by page past whatever is damaged, and changes nothing: safe beside a running agent, which salvages by
    itself what it has still to deliver.

    Exit codes: 0 done; 1 nothing whole was found; 2 wrong usage; 3 there is no such file.
    """
    from edge_agent.cli import store_formats
    from edge_agent.store.exporting import salvaged
    from edge_agent.store.salvage import Salvage

    beside.refuse_target(output, force=force)
    store_file.refuse_among_the_agents(output, file)
    if not file.is_file():
        raise Fatal(f"there is no file {file}", hint="ls the folder of the store", exit_code=ExitCode.NOT_THERE)
    with progress.shown("pages") as bar, closing(Salvage(file, _wal(file), progress=lambda _: bar.went(1))) as found:
        counts, records = found.counts, salvaged(found)
        with beside.whole_file(output, force=force) as part:
            if output.suffix in (".db", ".sqlite"):
                written = store_formats.write_sqlite(records, part)
            else:
                with part.open("w", encoding="utf-8", errors="backslashreplace") as text:
                    written = store_formats.write_jsonl(records, text)
            if not written:
                raise Fatal(f"{file}: no whole row was found", hint="keep it: a newer agent may know its shapes")
    if as_json:
        told = {"ok": True, "output": str(output), "records": written}
        show.echo_json({**told, "rows": counts.whole, "waiting_rows": counts.waiting, "damaged_rows": counts.damaged})
    else:
        said = f"{show.counted(written, 'record')} of {show.counted(counts.whole, 'whole row')}"
        click.echo(f"{show.mark(True)} {said} in {show.safe(output)}; {counts.damaged:,} damaged")


def _wal(file: Path) -> Path | None:
    """Beside `store.db` it is `store.db-wal`, beside `store.db.corrupt-1` it is `store.db-wal.corrupt-1`."""
    name, dot, aside = file.name.partition(".db.")
    wal = file.with_name(f"{name}.db-wal.{aside}" if dot else f"{file.name}-wal")
    return wal if wal.is_file() else None
