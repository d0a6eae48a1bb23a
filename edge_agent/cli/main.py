"""`edge-agent`: one command a file, imported only when it is called, so that `--help` stays quick."""

from __future__ import annotations

import importlib
import io
import os
import sys
from types import TracebackType

import click

from edge_agent import __version__
from edge_agent.cli.show import folded
from edge_agent.errors import EdgeError, ExitCode, Fatal

COMMANDS = {
    "run": "Run the agent on a site file.",
    "check": "Say everything that is wrong with a site file; opens nothing.",
    "status": "Show what a running agent does, or what its database holds.",
    "config": "Print the JSON Schema of site files.",
    "rules": "Try rules on cases of your own.",
    "rule": "Hold a rule, release it, or reset a latched one.",
    "alert": "Acknowledge an alert.",
    "infer": "Run a model package once on a file.",
    "replay": "Feed a recorded event log through the engine again.",
    "store": "Look after the database: count, check, export, salvage, compact.",
    "ports": "Find serial devices, who holds them, and what speaks there.",
    "fleet": "Take what gateways deliver into PostgreSQL, and prove that it is whole.",
    "command": "Make keys for commands from the backend, and sign a command.",
    "mcu": "Look at microcontrollers, set outputs, update their firmware.",
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

    \b
    Exit codes: 0 done
                1 no: a check, a case or a verdict failed, or the agent refused
                2 wrong usage, or a site file that cannot run
                3 there is no agent (and, for status, no database)
                70 a bug
    """


def main() -> None:
    """Errors that we raise are one line with a hint; anything else is a bug and shows its traceback."""
    sys.excepthook = _bug
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a name that is no UTF-8, on a terminal that knows only ASCII: escaped, not fatal
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command: its exit code, when all it had to say is written."""
    try:
        cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return 130
    except click.ClickException as e:
        e.show()
        return ExitCode.CONFIGURATION
    except Fatal as e:
        _say(e)
        return e.exit_code
    except EdgeError as e:
        _say(e)
        return ExitCode.FAILURE
    except OSError as e:
        return _not_written(e)
    return ExitCode.OK


def _say(error: EdgeError) -> None:
    on_its_own_line = error.hint and sys.stderr.isatty()
    click.echo(folded(f"{error.message}\n  {error.hint}" if on_its_own_line else str(error), sys.stderr), err=True)


def _not_written(error: OSError) -> int:
    """What could not be read or written, in a line; nothing where nobody reads any more, as behind `| head`."""
    if not isinstance(error, BrokenPipeError):
        _say(EdgeError(f"{error.filename or 'output'}: {error.strerror}"))
    # what is left in the buffer is lost either way: the interpreter must not try again at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILURE


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    click.echo("this is a bug: report it with the lines above and the output of edge-agent version", err=True)
    os._exit(ExitCode.BUG)
