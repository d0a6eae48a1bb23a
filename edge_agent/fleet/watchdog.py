"""Ends a process whose loop hangs in a call that has no timeout, so that its service manager starts it anew."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from edge_agent.errors import ExitCode

HUNG_S = 60

_log = logging.getLogger("edge_agent.fleet")


class Watchdog:
    """Counts its own ticks, so that a process which was stopped and goes on is not called hung."""

    def __init__(
        self, turns: Callable[[], int], *, hung_s: int = HUNG_S, end: Callable[[int], object] = os._exit
    ) -> None:
        self._turns = turns
        self._hung_s = hung_s
        self._end = end
        self._seen = turns()
        self._ticks = 0

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._run, args=(stop,), name="watchdog", daemon=True).start()

    def tick(self) -> None:
        """Once a second."""
        turns = self._turns()
        self._ticks = self._ticks + 1 if turns == self._seen else 0
        self._seen = turns
        if self._ticks >= self._hung_s:
            _log.critical("the loop has not turned for %d s: the process ends, start it anew", self._hung_s)
            self._end(ExitCode.FAILURE)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            self.tick()
