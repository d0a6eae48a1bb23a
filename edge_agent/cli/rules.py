"""`edge-agent rules test`: a user's own cases against their own rules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edge_agent.cli import show
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


@click.group("rules", cls=show.Group)
def command() -> None:
    """Try rules on cases of your own."""


@command.command("test")
@click.argument("site", type=show.PATH)
@click.argument("cases", type=show.PATH)
@show.json_option
def test(site: Path, cases: Path, as_json: bool) -> None:
    """Run the cases of the file CASES against the rules of SITE, through the real engine, on a clock of their own.

    \b
    [[case]]
    name = "a hot motor stops the press, with or without the model"
    [[case.steps]]
    at = "0s"
    set = { "motor.temp" = 20.0 }
    down = ["bearing"]
    [[case.steps]]
    at = "5s"
    set = { "motor.temp" = 95.0 }
    expect = { overheat = "pending" }
    [[case.steps]]
    at = "16s"
    expect = { overheat = "raised" }
    actions = ["press.relay = 0"]

    \b
    at       time since the start of the case; steps are in the order of time
    set      values of fields and model outputs that arrive then; as in the
             plant, a value that is not given again grows stale
    up,      models and parts of the agent that begin or cease to work then;
    down     at the start of a case all work
    expect   where rules stand after the step: normal, pending, raised,
             latched or unknown
    actions  all actions since the step before, in order

    Exit codes: 0 every case holds; 1 one does not; 2 the site file or the cases file is wrong.
    """
    from edge_agent.assembly import assemble
    from edge_agent.cli.rule_cases import read_cases, run_case

    assembly = assemble(site)
    results = [run_case(assembly, case) for case in read_cases(cases).case]
    failed = sum(bool(r.failures) for r in results)
    if as_json:
        told = [{"case": r.case, "ok": not r.failures, "failures": list(r.failures)} for r in results]
        show.echo_json({"ok": not failed, "cases": told})
    else:
        click.echo(f"{show.mark(not failed)} {len(results) - failed} passed, {failed} failed")
        for result in results:
            click.echo(f"{show.mark(not result.failures)} {show.safe(result.case)}")
            for failure in result.failures:
                click.echo(f"     {show.safe(failure)}")
    if failed:
        sys.exit(ExitCode.FAILURE)
