"""`edge-agent replay`: a recorded event log through the engine again: the same decisions, byte for byte."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from edge_agent.cli import show
from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.assembly import Assembly

_RULE_HASH = re.compile(rb'"rule_sha256":"[0-9a-f]{64}"')


class Comparison(NamedTuple):
    """So many decisions and alerts are the same; then these two lines differ, "" where there is none."""

    same: int
    recorded: str = ""
    replayed: str = ""

    @property
    def ok(self) -> bool:
        return self.recorded == self.replayed


@click.command("replay")
@click.argument("log", type=show.FILE)
@click.option("--site", type=show.PATH, required=True, help="The site file it was recorded with.")
@click.option("--verify", is_flag=True, help="Compare with the decisions recorded beside LOG; print the verdict.")
@click.option("--force", is_flag=True, help="Also where the site file has changed since, or the log is cut off.")
@click.option("--json", "as_json", is_flag=True, help="With --verify: one JSON document; else it is JSON anyway.")
def command(log: Path, site: Path, verify: bool, force: bool, as_json: bool) -> None:
    """Feed LOG, made by run --record, through the engine again; print its decisions and alerts, a JSON line each.

    An incident, which is frozen from a ring, begins in the middle: windows and timers start cold, and the first
    decisions may differ. With --force, a decision is the same where all of it but the hash of its rule is: so a
    changed rule shows where it decides otherwise.

    Exit codes: 0 done, and with --verify all as recorded; 1 a difference, or the log was changed or is cut off; 2
    wrong usage, or another site file.
    """
    from edge_agent.assembly import assemble
    from edge_agent.event_log import decisions_of

    lines = decided(assemble(site), log, to_its_end=verify and not force, any_site=force)
    if not verify:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    recorded = decisions_of(log)
    if not recorded.exists():
        raise Fatal(f"{recorded} is not there", hint="record with run --record", exit_code=ExitCode.CONFIGURATION)
    _tell(_compare(lines, recorded, any_rule=force), as_json, any_rule=force)


def decided(assembly: Assembly, log: Path, *, to_its_end: bool = False, any_site: bool = False) -> Iterator[bytes]:
    """The engine's decisions and alerts as lines, in order."""
    from edge_agent.engine import Engine
    from edge_agent.event_log import decision_line, read_log
    from edge_agent.types import Alert, Decision

    if to_its_end:
        # a log that is cut off is said to be so before anything looks like a difference
        deque(read_log(log, to_its_end=True)[1], maxlen=0)
    head, events = read_log(log)
    if head.site_sha256 != assembly.sha256 and not any_site:
        hint = "give the file it was recorded with, or --force to see what this one would have decided"
        raise Fatal("the log was recorded with another site file", hint=hint, exit_code=ExitCode.CONFIGURATION)
    engine = Engine(assembly.plan, epoch=head.epoch, before=head.before)
    for event in events:
        for effect in engine.handle(event):
            if isinstance(effect, Decision | Alert):
                yield decision_line(effect)


def _compare(lines: Iterator[bytes], recorded: Path, *, any_rule: bool) -> Comparison:
    same = 0
    with recorded.open("rb") as file:
        for line in lines:
            was = file.readline()
            if line != was and not (any_rule and _RULE_HASH.sub(b"", line) == _RULE_HASH.sub(b"", was)):
                return Comparison(same, _text(was), _text(line))
            same += 1
        left = file.readline()
    return Comparison(same, _text(left))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\n")


def _tell(found: Comparison, as_json: bool, *, any_rule: bool) -> None:
    if as_json:
        first = None if found.ok else {"recorded": found.recorded, "replayed": found.replayed}
        show.echo_json({"ok": found.ok, "same": found.same, "first_difference": first})
    elif found.ok:
        how = "as recorded, but for the hashes of rules" if any_rule else "byte for byte as recorded"
        click.echo(f"{show.mark(True)} {found.same} decisions and alerts, {how}")
    else:
        click.echo(f"{show.mark(False)} the first {found.same} are as recorded, then:")
        click.echo(f"     recorded: {show.safe(found.recorded) or 'nothing'}")
        click.echo(f"     replayed: {show.safe(found.replayed) or 'nothing'}")
    if not found.ok:
        sys.exit(ExitCode.FAILURE)
