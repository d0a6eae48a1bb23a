"""Alerts: raised once, cleared once, and not a storm of them: who flickers is summed up in one alert.

An alert that is raised more than `STORM` times within a minute is silent from then on, until it has rested for a
minute: then one message says how often it changed, and how it stands is said again.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping

from edge_agent.types import Alert, Stamp

NEVER = 2**63 - 1
STORM = 10
_MINUTE_NS = 60_000_000_000


class _Key:
    """One dedupe key: what is so, what was said, and how often it was raised lately."""

    __slots__ = ("latest", "raises", "said", "silent", "storm", "truth")

    def __init__(self) -> None:
        self.truth: Alert | None = None
        """The raised alert; None while it is cleared."""
        self.latest: Alert | None = None
        """The last change, sent or not."""
        self.said = False
        """What the last message said: raised or not."""
        self.raises: deque[int] = deque(maxlen=STORM + 1)
        self.storm: Alert | None = None
        """The one alert that stands for many, while they are not sent."""
        self.silent = 0
        """Changes that were not sent in this storm."""


class Alerts:
    """Numbers the stream `alert` of one epoch. Pure: time comes in."""

    def __init__(self, epoch: str, raised: Iterable[Alert] = (), acked: Mapping[str, str] | None = None) -> None:
        """`raised` and `acked` are from before a restart: they stand, and are not said again."""
        self.due_ns = NEVER
        """When a storm may be over; call `settle` then."""
        self._epoch = epoch
        self._next_seq = 0
        self._keys: dict[str, _Key] = {}
        self._acked: dict[str, str] = dict(acked or {})
        for alert in raised:
            key = self._keys[alert.dedupe_key] = _Key()
            key.truth = key.latest = alert
            key.said = True

    def turn(
        self, dedupe_key: str, up: bool, severity: str, text: str, now: Stamp, *, again: bool = False
    ) -> list[Alert]:
        """Raises or clears the alert of this key; nothing where it already is so (`again`: say it once more)."""
        key = self._keys.get(dedupe_key)
        if key is None:
            if not up:
                return []
            key = self._keys[dedupe_key] = _Key()
        before = key.truth
        if (before is None and not up) or (before is not None and up and not again):
            return []
        if up:
            key.raises.append(now.mono_ns)
        alert = self._alert(dedupe_key, before, up, severity, text, now)
        key.latest, key.truth = alert, alert if up else None
        if before is not None and not up:
            self._acked.pop(before.alert_id, None)
        return self._say(key, alert, now)

    def settle(self, now: Stamp) -> list[Alert]:
        """Ends the storms of keys that have rested."""
        out: list[Alert] = []
        for name, key in self._keys.items():
            if key.storm and self._rests_at(key) <= now.mono_ns:
                out += self._end_storm(name, key, now)
        self._look_ahead()
        return out

    def ack(self, alert_id: str, by: str, now: Stamp) -> list[Alert]:
        """A person has seen it; it stays raised."""
        for alert in self.raised():
            if alert.alert_id == alert_id:
                self._acked[alert_id] = by
                text = f"{alert.text} (by {by})"
                return [self._numbered(Alert(0, alert_id, alert.dedupe_key, "ack", alert.severity, text, now))]
        return []

    def raised(self) -> list[Alert]:
        """What is raised and not cleared, storms too, in the order in which it was first raised."""
        return [a for key in list(self._keys.values()) for a in (key.truth, key.storm) if a is not None]

    def acked(self) -> dict[str, str]:
        """By the id of a raised alert: who has acknowledged it."""
        return dict(self._acked)

    def _alert(
        self, dedupe_key: str, before: Alert | None, up: bool, severity: str, text: str, now: Stamp
    ) -> Alert:
        """Not numbered yet: only what is sent has a number."""
        if before is None:
            name = f"{self._epoch}/{dedupe_key}/{now.mono_ns}/{self._next_seq}"
            alert_id = "a-" + hashlib.sha256(name.encode()).hexdigest()[:10]
        else:
            alert_id = before.alert_id
        return Alert(0, alert_id, dedupe_key, "raised" if up else "cleared", severity, text, now)

    def _say(self, key: _Key, alert: Alert, now: Stamp) -> list[Alert]:
        if key.storm:
            key.silent += 1
            self._look_ahead()
            return []
        many = len(key.raises) > STORM and now.mono_ns - key.raises[0] < _MINUTE_NS
        if many:
            key.silent = 1
            text = f"{alert.text}: raised more than {STORM} times in a minute; further changes are counted"
            key.storm = self._alert(f"storm/{alert.dedupe_key}", None, True, alert.severity, text, now)
            self._look_ahead()
            return [self._numbered(key.storm)]
        key.said = alert.state == "raised"
        return [self._numbered(alert)]

    def _end_storm(self, name: str, key: _Key, now: Stamp) -> list[Alert]:
        storm, key.storm = key.storm, None
        key.raises.clear()
        text = f"{name}: at rest again after {key.silent} changes that were not sent"
        out = [self._numbered(self._alert(f"storm/{name}", storm, False, "info", text, now))]
        latest = key.latest
        if latest is not None and (latest.state == "raised") != key.said:
            key.said = not key.said
            out.append(self._numbered(latest))
        return out

    def _rests_at(self, key: _Key) -> int:
        return key.raises[-1] + _MINUTE_NS

    def _look_ahead(self) -> None:
        self.due_ns = min((self._rests_at(k) for k in self._keys.values() if k.storm), default=NEVER)

    def _numbered(self, alert: Alert) -> Alert:
        seq = self._next_seq
        self._next_seq += 1
        return Alert(
            seq, alert.alert_id, alert.dedupe_key, alert.state, alert.severity, alert.text, alert.stamp
        )
