"""`edge-agent run`: the daemon, in the foreground."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import click


@click.command("run")
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Keep every event in this file.")
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


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"t": round(record.created, 3), "level": record.levelname, "part": record.name,
                "text": record.getMessage()}  # fmt: skip
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _set_up_log(style: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    plain.converter = time.gmtime
    handler.setFormatter(_JsonLines() if style == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
