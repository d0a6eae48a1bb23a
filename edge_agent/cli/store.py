"""`edge-agent store`: the database of an agent, looked at, checked, exported, made smaller, salvaged."""

from __future__ import annotations

import click

from edge_agent.cli import show, store_check, store_compact, store_export, store_salvage, store_stats


@click.group("store", cls=show.Group)
def command() -> None:
    """Look after the database: beside a running agent, or without one."""


for _part in (store_stats, store_check, store_export, store_compact, store_salvage):
    command.add_command(_part.command)
