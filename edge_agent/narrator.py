"""The log as a person reads it: started, which part works or does not, what was raised and cleared, stopped.

Told by the main thread once a second: whoever holds the log up (a full pipe, a stuck journal) holds no rule up.
"""

from __future__ import annotations

import logging
from collections import deque

from edge_agent.health import Health
from edge_agent.types import Alert

log = logging.getLogger("edge_agent")

_MOST = 1000


class Narrator:
    """`hear` from any thread, `tell` from one."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._alerts: deque[Alert] = deque(maxlen=_MOST)
        self._told: dict[str, tuple[bool | None, str]] = {}

    def hear(self, alert: Alert) -> None:
        self._alerts.append(alert)

    def tell(self) -> None:
        """What is new since the last time."""
        for part in self._health.parts():
            now = (part.up, part.reason)
            before = self._told.get(part.name, (None, ""))
            self._told[part.name] = now
            if now == before or part.up is None:
                continue
            if not part.up:
                log.warning("%s is down: %s", part.name, part.reason)
            elif not before[0]:
                log.info("%s is up", part.name)
        while self._alerts:
            alert = self._alerts.popleft()
            level = logging.INFO if alert.state == "cleared" or alert.severity == "info" else logging.WARNING
            log.log(level, "%s %s: %s (%s)", alert.severity, alert.state, alert.text, alert.alert_id)
