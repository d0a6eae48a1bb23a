"""`edge-agent`: one command a file, imported only when it is called, so that `--help` stays quick."""

from __future__ import annotations

import importlib
import sys

import click

from edge_agent import __version__
from edge_agent.errors import EdgeError, ExitCode, Fatal

COMMANDS = {
    "run": "Run the agent on a site file.",
    "check": "Say everything that is wrong with a site file; opens nothing.",
    "status": "Show what a running agent does, or what its database holds.",
    "config": "About site files: the JSON Schema.",
    "rules": "Try rules on cases of your own.",
    "infer": "Run a model package once on a file.",
    "replay": "Feed a recorded event log through the engine again.",
    "version": "Show the versions of the agent and of what it runs on.",
}


class LazyGroup(click.Group):
    """Knows the commands by name; imports `cli/<name>.py` when one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edge_agent.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Edge Agent: sensors, models and rules on the box, whatever the network or the model does.

    Exit codes: 0 done; 1 no (a check, a case or a verdict failed); 2 wrong usage or site file; 3 no agent, no
    database; 70 a bug.
    """


def main() -> None:
    """Errors that we raise are one line with a hint; anything else is a bug and shows its traceback."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        sys.exit(ExitCode.CONFIGURATION)
    except click.ClickException as e:
        e.show()
        sys.exit(ExitCode.CONFIGURATION)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except Fatal as e:
        click.echo(str(e), err=True)
        sys.exit(e.exit_code)
    except EdgeError as e:
        click.echo(str(e), err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
