"""`edge-agent run`: the daemon, in the foreground."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import click

from edge_agent.cli import show


@click.command("run")
@click.argument("site", type=show.PATH)
@click.option("--record", type=show.PATH, help="Keep every event in this file.")
@click.option("--end-with-input", is_flag=True, help="Stop when every source has ended and all is delivered.")
@click.option("--log", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(site: Path, record: Path | None, end_with_input: bool, style: str) -> None:
    """Run the agent on SITE until SIGTERM or SIGINT.

    Exit codes: 0 it was asked to stop; 1 it could not go on; 2 the site file cannot run; 70 a bug: the state is on
    disk, and a restart goes on from it.
    """
    from edge_agent.agent import Agent
    from edge_agent.assembly import assemble

    _set_up_log(style)
    assembly = assemble(site)
    for warning in assembly.warnings:
        logging.getLogger("edge_agent").warning("%s", warning)
    Agent(assembly, record=record, end_with_input=end_with_input).run()


class _TextLines(logging.Formatter):
    """What a sensor or a broker said cannot make records of its own: further lines of one are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(show.safe(line) for line in super().format(record).split("\n"))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"t": round(record.created, 3), "level": record.levelname, "part": record.name,
                "text": record.getMessage()}  # fmt: skip
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _set_up_log(style: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if style == "json" else _TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
