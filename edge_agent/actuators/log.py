"""Writes each action as a JSON line, for tests and for trying rules out before anything is wired.

    [[actuator]]
    name = "press"
    kind = "log"
    path = "/tmp/actions.jsonl"         # empty: the agent's own log

Nothing is commanded: done means written down.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent.config.site import FilePath
from edge_agent.errors import Retryable
from edge_agent.ports import Clock, Context
from edge_agent.types import Act, Receipt

log = logging.getLogger(__name__)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `log` actuator."""

    path: FilePath = ""
    """The file that lines are appended to; empty: the agent's own log."""
    max_mb: Annotated[int, Meta(ge=1, le=1024)] = 10
    """A file of this size is renamed to `<path>.1`, in place of the one before."""


def open(config: Config, context: Context) -> LogActuator:  # noqa: A001 - the seam's name
    """Never fails; a file that cannot be written is found at the first action."""
    return LogActuator(config, context.clock)


class LogActuator:
    """ports.Actuator. The value read back is the value written."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._path = Path(config.path) if config.path else None
        self._max_bytes = config.max_mb * 1_000_000
        self._clock = clock

    def apply(self, action: Act, timeout_s: float) -> Receipt:  # noqa: ARG002 - nothing here waits
        line = msgspec.json.encode(action)
        if self._path is None:
            log.info("action %s", line.decode())
        else:
            self._append(self._path, line + b"\n")
        return Receipt(action.id, action.actuator, True, self._clock.now(), read_back=action.value)

    def close(self) -> None:
        """Nothing is held open between actions."""

    def _append(self, path: Path, line: bytes) -> None:
        try:
            if path.exists() and path.stat().st_size >= self._max_bytes:
                path.replace(path.with_name(path.name + ".1"))
            with path.open("ab") as f:
                f.write(line)
        except OSError as e:
            raise Retryable(f"{path}: {e.strerror}", hint="is the folder there and writable?") from e
