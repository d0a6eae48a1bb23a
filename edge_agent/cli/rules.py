"""`edge-agent rules test`: a user's own cases against their own rules."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from edge_agent.assembly import assemble
from edge_agent.cli import rule_cases, show


@click.group("rules")
def command() -> None:
    """Try rules on cases of your own."""


_HELP = "Run the cases of CASES against the rules of SITE; exit code 1 when one fails.\n\n\b\n" + "\n".join(
    (rule_cases.__doc__ or "").split("\n")[2:]
)


@command.command("test", help=_HELP)
@click.argument("site", type=click.Path(path_type=Path))
@click.argument("cases", type=click.Path(path_type=Path))
@show.json_option
def test(site: Path, cases: Path, as_json: bool) -> None:
    assembly = assemble(site)
    results = [rule_cases.run_case(assembly, case) for case in rule_cases.read_cases(cases).case]
    failed = sum(bool(r.failures) for r in results)
    if as_json:
        show.echo_json({"ok": not failed, "cases": [msgspec.to_builtins(r) for r in results]})
    else:
        for result in results:
            click.echo(f"{show.mark(not result.failures)} {show.safe(result.case)}")
            for failure in result.failures:
                click.echo(f"     {show.safe(failure)}")
        click.echo(f"{len(results) - failed} passed, {failed} failed")
    if failed:
        sys.exit(1)
