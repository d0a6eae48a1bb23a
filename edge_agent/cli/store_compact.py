"""`edge-agent store compact`: gives the volume back what the database no longer uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_agent.cli import agent_socket, progress, show, store_file

if TYPE_CHECKING:
    from pathlib import Path


@click.command("compact")
@agent_socket.site_argument
@store_file.data_dir_option
@show.json_option
def command(site: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Rewrite the store of SITE without its free pages.

    Not beside a running agent, which is the one owner of the file and would have to hold its commits for as long as
    it takes: stop it before. It fills free pages again by itself, so this is only for a volume that others share.
    Checked before and after; the old file or the new one is there whenever it is cut off.

    Exit codes: 0 done; 1 refused: an agent runs, no room, not in order; 2 wrong usage; 3 there is no store.
    """
    import msgspec

    from edge_agent.store.compacting import compact

    path = store_file.store_file(site, data_dir)
    with store_file.there(path), progress.shown("compacting"):
        done = compact(path)
    if as_json:
        show.echo_json({"ok": True, "file": str(path), **msgspec.to_builtins(done)})
    else:
        sizes = f"{show.size(done.before_bytes)}, now {show.size(done.after_bytes)}"
        click.echo(f"{show.mark(True)} {show.safe(path)}: {sizes}")
