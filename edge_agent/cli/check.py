"""`edge-agent check`: everything that is wrong with a site file, with file, line, key, reason and hint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edge_agent.cli import show
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


@click.command("check")
@click.argument("site", type=show.PATH)
@show.json_option
def command(site: Path, as_json: bool) -> None:
    """Say everything that is wrong with SITE; opens no port, no camera, no network.

    Exit codes: 0 it can run (warnings may be shown); 2 it cannot.
    """
    from edge_agent.assembly import assemble
    from edge_agent.config.problems import ConfigError
    from edge_agent.config.problems import as_json as told

    try:
        problems, runs = assemble(site).warnings, True
    except ConfigError as e:
        problems, runs = e.problems, False
    if as_json:
        show.echo_json({"ok": runs, "problems": told(problems)})
    else:
        errors = sum(p.severity == "error" for p in problems)
        click.echo(f"{show.mark(runs)} {show.safe(site)}: {_verdict(errors, len(problems) - errors)}")
        for problem in problems:
            click.echo(show.folded(str(problem), sys.stdout))
    if not runs:
        sys.exit(ExitCode.CONFIGURATION)


def _verdict(errors: int, warnings: int) -> str:
    said = [f"{n} {what}{'s' if n != 1 else ''}" for n, what in ((errors, "error"), (warnings, "warning")) if n]
    return ", ".join(said) or "no problems"
