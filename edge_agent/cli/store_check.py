"""`edge-agent store check`: is the database what the agent wrote, and is every number accounted for?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from edge_agent.cli import agent_socket, progress, show, store_file
from edge_agent.cli.page import Line, Section, laid_out
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store.checking import Checked, Finding

_SHOWN = 20


@click.command("check")
@agent_socket.site_argument
@store_file.data_dir_option
@store_file.file_option
@show.json_option
def command(site: Path | None, data_dir: Path | None, file: Path | None, as_json: bool) -> None:
    """Hold the store of SITE to its promises: SQLite's structure, the CRC of every row, and that every number is in a
    row or in a gap.

    Only reads, in short transactions: safe beside a running agent. Says which rows are wrong and what to do next.

    Exit codes: 0 all is well; 1 something is wrong; 2 wrong usage; 3 there is no store.
    """
    import msgspec

    from edge_agent.store.checking import Progress, check_store

    path = store_file.store_file(site, data_dir, file)
    with store_file.there(path), progress.shown("rows") as bar:
        checked = check_store(path, Progress(bar.began, bar.went))
    if as_json:
        show.echo_json({"ok": checked.ok, "file": str(path), **msgspec.to_builtins(checked)})
    else:
        click.echo("\n".join(laid_out(_page(checked, path), show.width(), colour=show.in_colour())))
    if not checked.ok:
        sys.exit(ExitCode.FAILURE)


def _page(checked: Checked, path: Path) -> list[Section]:
    title, tone = ("OK", "good") if checked.ok else ("WRONG", "bad")
    looked_at = f"{show.counted(checked.rows, 'row')} with {show.counted(checked.readings, 'reading')} read"
    return [
        Section(title, [Line(text=f"{path}: {looked_at}")], tone),
        Section("findings", list(_findings(checked))),
        Section("unjudged", list(_unjudged(checked))),
        Section("next", [Line(text=_NEXT[what]) for what in _NEXT if what in checked.counts]),
    ]


def _findings(checked: Checked) -> Iterator[Line]:
    for finding in checked.findings[:_SHOWN]:
        yield Line(finding.what, text=f"{_place(finding)}{_TOLD[finding.what]}")
    left = sum(checked.counts.values()) - min(len(checked.findings), _SHOWN)
    if left:
        yield Line(text=f"and {left:,} more: {', '.join(f'{n:,} {what}' for what, n in checked.counts.items())}")


def _place(finding: Finding) -> str:
    row = f"row {finding.row} of row{finding.prio}: " if finding.row else ""
    if not finding.stream:
        return f"{row}{finding.text}: " if finding.text else row
    numbers = str(finding.first) if finding.first == finding.last else f"{finding.first} to {finding.last}"
    return f"{row}{finding.stream} {numbers} of epoch {finding.epoch or 'unknown'}: "


def _unjudged(checked: Checked) -> Iterator[Line]:
    if checked.unjudged:
        told = f"{show.counted(checked.unjudged, 'number')} in no row; gap records were delivered and let go, so only"
        yield Line(text=f"{told} the backend's view of completeness can tell")


_TOLD = {
    "structure": "the file is damaged",
    "unreadable": "the file does not give it",
    "damaged": "not what was written (CRC)",
    "epoch": "of a start that never was",
    "again": "already in a row before it",
    "both": "declared lost, and here",
    "hole": "in no row and in no gap",
}
_NEXT = {
    "structure": "the agent moves a damaged file aside by itself, running or at its start: see edge-agent status",
    "unreadable": "save what can be read: edge-agent store export; look at the medium: dmesg",
    "damaged": "a damaged row is declared lost when its turn to be sent comes; if there are more each day, the medium"
    " is failing: replace it",
    "epoch": "somebody changed the database by hand, or it is damaged: edge-agent store export saves what is there",
    "again": "report it with the output of edge-agent version: numbers are never to be used twice",
    "both": "the backend holds more than it was told to expect: nothing is lost",
    "hole": "rows went behind the agent's back: the backend's view of completeness will show them as missing",
}
