"""One question to a running agent over its control socket; what can go wrong there, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.whereabouts import whereabouts
from edge_agent.errors import EdgeError, ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path

site_argument = click.argument("site", type=show.PATH, required=False)
socket_option = click.option(
    "--socket", type=show.PATH, help="The agent's control socket; default: in the run_dir of SITE."
)
site_option = click.option(
    "--site", type=show.PATH, help="The site file; default: the agent of this box, /run/edge-agent."
)
ANSWER_S = 3.0


class NoAnswer(EdgeError):
    """No agent answers there. `hint` says how to start one."""


def ask_agent(socket: Path, verb: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The result of `verb`. Raises NoAnswer, or Fatal where the agent, or the kernel, refuses."""
    import msgspec

    from edge_agent.api import Refusal, ask

    start = "systemctl start edge-agent, or edge-agent run SITE"
    try:
        result = ask(socket, verb, args, timeout_s=ANSWER_S)
    except Refusal as e:
        raise Fatal(e.message, hint=_HINTS.get(e.code, ""), exit_code=ExitCode.FAILURE) from e
    except UnicodeEncodeError as e:
        raise Fatal("a name that is no UTF-8", hint="type it again", exit_code=ExitCode.CONFIGURATION) from e
    except PermissionError as e:
        hint = "sudo edge-agent ..., or become a member of the socket's group"
        raise Fatal(f"{socket}: you may not talk to the agent", hint=hint, exit_code=ExitCode.FAILURE) from e
    except (FileNotFoundError, NotADirectoryError) as e:
        raise NoAnswer(f"no agent at {socket}: there is no socket", hint=start) from e
    except ConnectionRefusedError as e:
        raise NoAnswer(f"no agent at {socket}: nobody listens, so it was killed", hint=start) from e
    except TimeoutError as e:
        hint = "it hangs, or the box is overloaded: systemctl status edge-agent"
        raise NoAnswer(f"the agent at {socket} did not answer within {ANSWER_S:.0f} s", hint=hint) from e
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as e:
        raise NoAnswer(f"no agent's answer from {socket}: {e}", hint=start) from e
    if not isinstance(result, dict):
        raise NoAnswer(f"no agent's answer from {socket}", hint=start)
    return result


def tell_agent(
    site: Path | None, socket: Path | None, verb: str, args: Mapping[str, Any], said: str, as_json: bool
) -> None:
    """Has `verb` carried out and says so. Raises Fatal where it is refused or nobody answers."""
    try:
        answer = ask_agent(whereabouts(site, socket, None).socket, verb, args)
    except NoAnswer as e:
        raise Fatal(e.message, hint=e.hint, exit_code=ExitCode.NOT_THERE) from e
    if as_json:
        show.echo_json({"ok": True, **answer})
    else:
        click.echo(f"{show.mark(True)} {show.safe(said)}")


_HINTS = {
    "forbidden": "sudo edge-agent ..., or become a member of the socket's group",
    "not_latched": "edge-agent status shows where each rule stands",
    "not_held": "edge-agent status lists what is held",
    "bad_args": "--help says what it takes",
    "unknown_rule": "edge-agent status --json lists the rules",
    "unknown_alert": "edge-agent status lists the alerts that are raised, with their ids",
    "rule_raised": "edge-agent status shows why; try again when it is cleared",
    "busy": "wait until it is done: edge-agent status",
    "not_lent": "see edge-agent mcu info, and try again",
    "unknown_mcu": "has the agent been started with this site file? restart it",
    "unknown_verb": "the agent is of another version: edge-agent version",
    "foreign_socket": "look who has made it: ls -l",
}
