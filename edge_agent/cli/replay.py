"""`edge-agent replay`: a recorded event log through the engine again: the same decisions, byte for byte."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from edge_agent.assembly import Assembly, assemble
from edge_agent.cli import show
from edge_agent.engine import Engine
from edge_agent.errors import ExitCode, Fatal
from edge_agent.event_log import decision_line, decisions_of, read_log
from edge_agent.types import Alert, Decision


@click.command("replay")
@click.argument("log", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--site", type=click.Path(path_type=Path), required=True, help="The site file it was recorded with.")
@click.option("--verify", is_flag=True, help="Compare with the decisions recorded beside the log; print the verdict.")
@click.option("--force", is_flag=True, help="Replay although the site file has changed since.")
@show.json_option
def command(log: Path, site: Path, verify: bool, force: bool, as_json: bool) -> None:
    """Feed LOG, made by `run --record`, through the engine again; print its decisions and alerts, a JSON line each.

    Exit code 1 when --verify finds a difference. A log that was frozen from the ring begins in the middle: windows
    and timers start cold, and the first decisions may differ.
    """
    assembly = assemble(site)
    lines = decided(assembly, log, force=force)
    if not verify:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    recorded = decisions_of(log)
    if not recorded.exists():
        raise Fatal(f"{recorded} is not there", hint="record with run --record", exit_code=ExitCode.CONFIGURATION)
    same, different = _compare(lines, recorded)
    if as_json:
        show.echo_json({"ok": different is None, "same": same, "first_difference": different})
    elif different is None:
        click.echo(f"{show.mark(True)} {same} decisions and alerts, byte for byte as recorded")
    else:
        click.echo(f"{show.mark(False)} the first {same} are as recorded, then:\n  {different}")
    if different is not None:
        sys.exit(1)


def decided(assembly: Assembly, log: Path, *, force: bool = False) -> Iterator[bytes]:
    """The engine's decisions and alerts as lines, in order."""
    head, events = read_log(log)
    if head.site_sha256 != assembly.sha256 and not force:
        hint = "give the file it was recorded with, or --force to see what this one would have decided"
        raise Fatal("the log was recorded with another site file", hint=hint, exit_code=ExitCode.CONFIGURATION)
    engine = Engine(assembly.plan, epoch=head.epoch)
    for event in events:
        for effect in engine.handle(event):
            if isinstance(effect, Decision | Alert):
                yield decision_line(effect)


def _compare(lines: Iterator[bytes], recorded: Path) -> tuple[int, str | None]:
    same = 0
    with recorded.open("rb") as file:
        for line in lines:
            was = file.readline()
            if line != was:
                return same, f"recorded {was.decode() or 'nothing'!s} replayed {line.decode()}"
            same += 1
        left = file.readline()
    return same, f"recorded {left.decode()} replayed nothing" if left else None
