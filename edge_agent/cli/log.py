"""How a daemon's log looks: a line a record, for people or for programs."""

from __future__ import annotations

import json
import logging
import sys
import time

from edge_agent.cli import show


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


def set_up_log(style: str) -> None:
    """`text` or `json`, on stderr, in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if style == "json" else _TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
