"""`edge-agent config schema`: what a site file may say, as JSON Schema."""

from __future__ import annotations

import click

from edge_agent.cli import show


@click.group("config", cls=show.Group)
def command() -> None:
    """About site files."""


@command.command("schema")
@click.option("--json", "as_json", is_flag=True, help="On one line; the schema is JSON in any case.")
def schema(as_json: bool) -> None:
    """Print the JSON Schema (2020-12) of a site file with the drivers of this installation.

    Editors complete and check site files with it. Exit code 0.
    """
    import json

    from edge_agent.config.schema import site_schema
    from edge_agent.drivers import DriverConfigs

    document = site_schema(DriverConfigs())
    if as_json:
        show.echo_json(document)
    else:
        click.echo(json.dumps(document, indent=2))
