"""`edge-agent status`: the verdict first, then every part; from the agent, or from its database when it is down."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge_agent import __version__
from edge_agent.cli import agent_socket, show
from edge_agent.cli.whereabouts import Whereabouts, whereabouts
from edge_agent.errors import ExitCode, Fatal, Retryable

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.cli.page import Section

_RECENT = 50


class Seen(NamedTuple):
    """One look at an agent: the document for programs, the page for people."""

    document: dict[str, Any]
    page: list[Section]
    exit_code: int


@click.command("status")
@agent_socket.site_argument
@agent_socket.socket_option
@click.option("--data-dir", type=show.PATH, help="Where the database is when no agent answers.")
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(0.2, 3600), default=1.0, help="Seconds, for --watch.")
@show.json_option
def command(
    site: Path | None, socket: Path | None, data_dir: Path | None, watch: bool, every_s: float, as_json: bool
) -> None:
    """Show what the agent of SITE does; when none answers, what its database holds.

    Without SITE: the agent of this box, /run/edge-agent and /var/lib/edge-agent. Nothing is changed, and no network
    is needed.

    Exit codes: 0 all parts work; 1 trouble, or no agent answers; 2 wrong usage; 3 no agent and no database.
    """
    where = whereabouts(site, socket, data_dir)
    if not watch:
        seen = look(where)
        _print(seen, as_json)
        sys.exit(seen.exit_code)
    with suppress(KeyboardInterrupt):
        _watch(where, every_s, as_json)


def look(where: Whereabouts) -> Seen:
    """Asks the agent, else reads the database."""
    from edge_agent.cli.status_live import live_page

    try:
        status = agent_socket.ask_agent(where.socket, "status")
    except agent_socket.NoAnswer as e:
        return _look_at_store(where, e)
    try:
        page = live_page(status)
    except KeyError as e:
        told = f"the agent is of version {status.get('version')}, this command of {__version__}"
        raise Fatal(told, hint="restart the agent: systemctl restart edge-agent", exit_code=ExitCode.FAILURE) from e
    return Seen({"agent": "up", **status}, page, ExitCode.OK if status["ok"] else ExitCode.FAILURE)


def _look_at_store(where: Whereabouts, why: agent_socket.NoAnswer) -> Seen:
    import msgspec

    from edge_agent.cli.page import Line, Section
    from edge_agent.cli.status_stored import stored_page
    from edge_agent.store.reader import view_store

    document = {"agent": "down", "ok": False, "reason": why.message, "hint": why.hint}
    try:
        store = view_store(where.store, recent=_RECENT)
    except Retryable as e:
        lines = [Line(text=why.message), Line(text=str(e)), Line(text=f"to start the agent: {why.hint}")]
        gone = {**document, "agent": "none", "store": None, "store_reason": str(e)}
        return Seen(gone, [Section("NOTHING", lines, "bad")], ExitCode.NOT_THERE)
    page = stored_page(store, str(where.store), why.message, why.hint, time.time_ns() // 1_000_000)
    return Seen({**document, "store": msgspec.to_builtins(store)}, page, ExitCode.FAILURE)


def _print(seen: Seen, as_json: bool) -> None:
    if as_json:
        show.echo_json(seen.document)
    else:
        click.echo("\n".join(_rows(seen)))


def _rows(seen: Seen) -> list[str]:
    from edge_agent.cli.page import laid_out

    return laid_out(seen.page, show.width(), colour=show.in_colour())


def _looks(where: Whereabouts, every_s: float) -> Iterator[Seen]:
    while True:
        yield look(where)
        time.sleep(every_s)


def _watch(where: Whereabouts, every_s: float, as_json: bool) -> None:
    """A live page on a terminal, else one page (or JSON document) after the other."""
    if as_json or not sys.stdout.isatty():
        for seen in _looks(where, every_s):
            _print(seen, as_json)
            if not as_json:
                click.echo()
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, vertical_overflow="ellipsis") as live:
        for seen in _looks(where, every_s):
            live.update(Text.from_ansi("\n".join(_rows(seen))), refresh=True)
