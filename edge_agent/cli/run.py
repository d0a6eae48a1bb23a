"""`edge-agent run`: the daemon, in the foreground."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from edge_agent.cli import show

if TYPE_CHECKING:
    from pathlib import Path


@click.command("run")
@click.argument("site", type=show.PATH)
@click.option("--record", type=show.PATH, help="Keep every event in this file.")
@click.option("--end-with-input", is_flag=True, help="Stop when every source has ended and all is delivered.")
@click.option("--log", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(site: Path, record: Path | None, end_with_input: bool, style: str) -> None:
    """Run the agent on SITE until SIGTERM or SIGINT.

    Exit codes: 0 it was asked to stop; 1 it could not go on; 2 the site file cannot run; 70 a bug: the state is on
    disk, and a restart goes on from it.

    After five starts in a row that ended badly (crashes within ten minutes, or power cuts within one) the models
    are left out (safe mode): for ten minutes, or until it was stopped and started again.
    """
    from edge_agent.assembly import assemble
    from edge_agent.cli.log import set_up_log

    set_up_log(style)
    assembly = assemble(site)
    # the whole agent takes longer to load than a wrong site file to refuse
    from edge_agent.agent import Agent

    for warning in assembly.warnings:
        logging.getLogger("edge_agent").warning("%s", warning)
    Agent(assembly, record=record, end_with_input=end_with_input).run()
