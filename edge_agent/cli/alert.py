"""`edge-agent alert ack`: a person has seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_agent.cli import agent_socket, show

if TYPE_CHECKING:
    from pathlib import Path


@click.group("alert", cls=show.Group)
def command() -> None:
    """Acknowledge an alert of the running agent.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """


@command.command("ack")
@click.argument("alert_id", metavar="ID")
@agent_socket.site_option
@agent_socket.socket_option
@show.json_option
def ack(alert_id: str, site: Path | None, socket: Path | None, as_json: bool) -> None:
    """Acknowledge the raised alert ID, such as a-1a2b3c4d5e; status lists them.

    It stays raised until its cause is gone; the backend hears who has seen it. Needs root, or membership of the
    socket's group.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """
    agent_socket.tell_agent(site, socket, "ack", {"alert": alert_id}, f"{alert_id} is acknowledged", as_json)
