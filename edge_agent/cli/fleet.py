"""`edge-agent fleet ingest|holes`: the backend's side, gateways into PostgreSQL and the proof that all is there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.extras import needs_extra
from edge_agent.errors import ExitCode, Fatal, Retryable

if TYPE_CHECKING:
    from edge_agent.fleet.database import DatabaseSettings

_database_option: Callable[[Any], Any] = click.option(
    "--database", required=True, metavar="URL", help="Such as postgresql://edge@db/edge, without a password."
)
_database_password_option: Callable[[Any], Any] = click.option(
    "--database-password-file", metavar="FILE", help="A file of mode 0600, or credential:NAME."
)


@click.group("fleet", cls=show.Group)
def command() -> None:
    """Take what gateways deliver into PostgreSQL, and prove that it is whole.

    Needs the extra `fleet`: pip install 'edge-agent[fleet]'.
    """


@command.command("ingest")
@click.option("--broker", required=True, metavar="URL", help="mqtt://HOST:PORT, or mqtts:// for TLS.")
@_database_option
@_database_password_option
@click.option("--name", default="ingest-1", show_default=True, help="Of this process: client id; each has its own.")
@click.option("--group", default="ingest", show_default=True, help="Processes of a group share the messages.")
@click.option("--username", help="At the broker.")
@click.option("--password-file", metavar="FILE", help="Of the broker: mode 0600, or credential:NAME.")
@click.option("--ca", metavar="FILE", help="Who issued the broker's certificate; default: the system's.")
@click.option("--cert", metavar="FILE", help="This client's certificate.")
@click.option("--key", metavar="FILE", help="Its key.")
@click.option("--server-name", help="In the broker's certificate, where HOST is an address.")
@click.option("--mqtt", "version", type=click.Choice(["5", "3.1.1"]), default="5", show_default=True)
@click.option(
    "--session-expiry", "expiry_s", type=click.IntRange(1, 604_800), default=10, show_default=True,
    help="Seconds that the broker keeps the queue of a process that is gone; long only for a single process.",
)  # fmt: skip
@click.option("--reconnect-max", "reconnect_max_s", type=click.IntRange(1, 3600), default=30, show_default=True,
              help="Seconds between tries to reach broker or database, at most.")  # fmt: skip
@click.option("--report", "report_s", type=click.IntRange(1, 86_400), default=10, show_default=True,
              help="Seconds between lines of progress.")  # fmt: skip
@click.option("--log", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def ingest(
    broker: str, database: str, database_password_file: str | None, name: str, group: str, style: str, report_s: int,
    reconnect_max_s: int, **connection: Any,
) -> None:  # fmt: skip
    """Subscribe to all gateways, commit what they send, acknowledge it. Until SIGTERM or SIGINT.

    Tables and views are in the schema `edge`, made and upgraded at the start; edge_agent/fleet/README.md explains
    them. Several processes share the messages: run each with its own --name.

    Exit codes: 0 it was asked to stop; 1 it could not go on: the database refuses it, or its tables are newer than
    this code; 2 wrong usage; 70 a bug. A broker or a database that is away is waited for.
    """
    from edge_agent.cli.log import set_up_log

    needs_extra("psycopg", "fleet")
    from edge_agent.cli.fleet_settings import broker_of
    from edge_agent.fleet.ingest import IngestSettings
    from edge_agent.fleet.process import run

    _check_secret("--password-file", connection["password_file"])
    for option in ("ca", "cert", "key"):
        _check_readable(f"--{option}", connection[option])
    settings = IngestSettings(
        broker=broker_of(broker, name=name, **connection),
        database=_database_of(database, database_password_file),
        group=_segment("--group", group),
        report_s=float(report_s),
        reconnect_max_s=float(reconnect_max_s),
    )
    set_up_log(style)
    run(settings)


@command.command("holes")
@_database_option
@_database_password_option
@click.option("--gateway", help="Only this one.")
@show.json_option
def holes(database: str, database_password_file: str | None, gateway: str | None, as_json: bool) -> None:
    """Show every stream of every epoch: received, declared lost, and what is neither.

    Exit codes: 0 nothing is missing; 1 something is, or the database does not answer; 2 wrong usage.
    """
    needs_extra("psycopg", "fleet")
    from edge_agent.fleet.completeness import read_completeness

    streams = read_completeness(_database_of(database, database_password_file), gateway)
    ok = not any(s.missing for s in streams)
    if as_json:
        import msgspec

        show.echo_json({"ok": ok, "streams": msgspec.to_builtins(streams)})
    else:
        for s in streams:
            click.echo(show.safe(str(s)))
        missing = sum(s.missing for s in streams)
        received = sum(s.received for s in streams)
        declared = sum(s.declared for s in streams)
        click.echo(f"{show.mark(ok)} {received:,} received, {declared:,} declared lost, {missing:,} missing")
    if not ok:
        sys.exit(ExitCode.FAILURE)


def _database_of(conninfo: str, password_file: str | None) -> DatabaseSettings:
    from edge_agent.fleet.database import DatabaseSettings, check_conninfo

    check_conninfo(conninfo)
    _check_secret("--database-password-file", password_file)
    return DatabaseSettings(conninfo, password_file)


def _check_secret(option: str, reference: str | None) -> None:
    """Looked at once before anything connects: later a file that cannot be read is waited for. Raises Fatal."""
    from edge_agent.config.secrets import read_secret

    try:
        if reference is not None:
            read_secret(reference)
    except Retryable as e:
        raise Fatal(f"{option}: {e.message}", hint=e.hint, exit_code=ExitCode.CONFIGURATION) from e


def _check_readable(option: str, file: str | None) -> None:
    from pathlib import Path

    try:
        if file is not None:
            Path(file).open("rb").close()
    except OSError as e:
        hint = "give a PEM file that this user may read"
        raise Fatal(f"{option}: {file}: {e.strerror}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e


def _segment(option: str, text: str) -> str:
    if not text or len(text) > 64 or set(text) & set("/+#") or not text.isprintable():
        hint = "letters, digits, - and _"
        raise Fatal(f"{option} {text!r} cannot stand in a topic", hint=hint, exit_code=ExitCode.CONFIGURATION)
    return text
