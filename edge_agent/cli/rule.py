"""`edge-agent rule hold|release|reset`: what a person decides over a rule of the running agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_agent.cli import agent_socket, show
from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path


@click.group("rule", cls=show.Group)
def command() -> None:
    """Hold a rule of the running agent, release it, or reset a latched one.

    Needs root, or membership of the socket's group. Who, why and until when is kept with the agent's decisions, and
    status shows it.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """


@command.command("hold")
@click.argument("rule")
@click.option("--for", "length", default="1h", show_default=True, help="Such as 30m or 8h; at most 7d.")
@click.option("--why", default="", help="For those who ask later.")
@agent_socket.site_option
@agent_socket.socket_option
@show.json_option
def hold(rule: str, length: str, why: str, site: Path | None, socket: Path | None, as_json: bool) -> None:
    """Let RULE decide on, but neither act nor alert, for a while.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """
    from edge_agent.durations import LONGEST_HOLD_NS, DurationError, format_duration, parse_duration

    try:
        for_s = parse_duration(length, LONGEST_HOLD_NS) / 1e9
    except DurationError as e:
        hint = f"{e.hint}; a hold can be renewed before its end"
        raise Fatal(f"--for: {e.message}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e
    if not for_s:
        hint = f"more than 0 and at most {format_duration(LONGEST_HOLD_NS)}"
        raise Fatal(f"--for {length}: holds nothing", hint=hint, exit_code=ExitCode.CONFIGURATION)
    said = f"{rule} is held for {show.age(for_s)}: it decides on, but neither acts nor alerts"
    agent_socket.tell_agent(site, socket, "hold", {"rule": rule, "for_s": for_s, "why": why}, said, as_json)


@command.command("release")
@click.argument("rule")
@agent_socket.site_option
@agent_socket.socket_option
@show.json_option
def release(rule: str, site: Path | None, socket: Path | None, as_json: bool) -> None:
    """End the hold on RULE.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """
    said = f"{rule} is not held any more: from its next change on it acts and alerts again"
    agent_socket.tell_agent(site, socket, "release", {"rule": rule}, said, as_json)


@command.command("reset")
@click.argument("rule")
@agent_socket.site_option
@agent_socket.socket_option
@show.json_option
def reset(rule: str, site: Path | None, socket: Path | None, as_json: bool) -> None:
    """Reset RULE, which is latched: raised, with its cause gone.

    Exit codes: 0 accepted; 1 refused; 2 wrong usage; 3 no agent answers.
    """
    said = f"{rule} is reset"
    agent_socket.tell_agent(site, socket, "reset", {"rule": rule}, said, as_json)
