"""Which certificates of this box's TLS links expire, and when: told 30, 14 and 3 days before, and when it is so.

A link reads its files anew at each connection, so that a renewed file counts without a restart; this looks at them
once a minute. Nothing is said of days while nobody knows the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.config.site import ActuatorConfig, SiteConfig, SourceConfig, TlsConfig
from edge_agent.health import Health
from edge_agent.links.certificates import expiries_ms
from edge_agent.types import Event, HealthChange, Stamp

_EVERY_NS = 60_000_000_000
_DAY_MS = 86_400_000
_STEPS = ((0, "critical"), (3, "critical"), (14, "warning"), (30, "info"))
"""Days that are left, and how bad that is."""


class Certificate(msgspec.Struct, frozen=True):
    """`part` names it in health and alerts, such as `uplink.tls.cert`."""

    part: str
    file: str
    own: bool
    """Of this box, with its chain: the first to expire breaks it. Of a file of CAs the last one counts: an old CA
    beside its successor is how they are rotated."""

    def expires_ms(self) -> int:
        """Raises OSError or ValueError."""
        found = expiries_ms(Path(self.file).read_text(encoding="latin-1"))  # around them stands any text
        return min(found) if self.own else max(found)


def certificates_of(site: SiteConfig) -> Iterator[Certificate]:
    """Of each link that has some."""
    drivers: tuple[SourceConfig | ActuatorConfig, ...] = (*site.source, *site.actuator)
    links = [(one.name, getattr(one.driver, "tls", None)) for one in drivers]
    if site.uplink.kind == "mqtt":
        links.append(("uplink", site.uplink.tls))
    for name, tls in links:
        if isinstance(tls, TlsConfig):
            for key, file in (("cert", tls.cert), ("ca", tls.ca)):
                if file:
                    yield Certificate(f"{name}.tls.{key}", file, key == "cert")


class Expiry:
    """`look` on the store's thread, which alone may wait for a disk; `to_list` from any thread."""

    def __init__(
        self, certificates: Sequence[Certificate], health: Health, post: Callable[[list[Event]], None]
    ) -> None:
        self._certificates = certificates
        self._health = health
        self._post = post
        self._due_ns = 0
        self._clock_known = False
        self._expires_ms: dict[str, int] = {}
        self._unreadable: dict[str, str] = {}
        self._step: dict[str, tuple[int, str]] = {}
        """By part, of those that people were told of."""

    def look(self, now: Stamp, utc_ms: int | None) -> None:
        """`utc_ms`: the time, None while it is not known."""
        known = utc_ms is not None
        if now.mono_ns < self._due_ns and known == self._clock_known:
            return
        self._due_ns, self._clock_known = now.mono_ns + _EVERY_NS, known
        for certificate in self._certificates:
            self._read(certificate)
            if utc_ms is not None and certificate.part in self._expires_ms:
                self._judge(certificate, self._expires_ms[certificate.part] - utc_ms, now)

    def to_list(self, utc_ms: int | None) -> list[dict[str, Any]]:
        """For status: `days` that are left are null while the time is not known, or the file cannot be read."""
        return [self._told(certificate, utc_ms) for certificate in self._certificates]

    def _told(self, certificate: Certificate, utc_ms: int | None) -> dict[str, Any]:
        expires_ms, why_not = self._expires_ms.get(certificate.part), self._unreadable.get(certificate.part, "")
        days = None
        if expires_ms is not None and utc_ms is not None:
            days = round((expires_ms - utc_ms) / _DAY_MS, 1)
        elif expires_ms is not None:
            why_not = "clock not known"
        return {
            "name": certificate.part, "file": certificate.file, "expires_ms": expires_ms, "days": days,
            "why_not": why_not,
        }  # fmt: skip

    def _read(self, certificate: Certificate) -> None:
        try:
            self._expires_ms[certificate.part] = certificate.expires_ms()
            self._unreadable.pop(certificate.part, None)
        except OSError as e:
            self._forget(certificate, e.strerror or str(e))
        except ValueError as e:
            self._forget(certificate, str(e))

    def _forget(self, certificate: Certificate, why: str) -> None:
        """The link says it too, when it connects."""
        self._expires_ms.pop(certificate.part, None)
        self._unreadable[certificate.part] = why

    def _judge(self, certificate: Certificate, left_ms: int, now: Stamp) -> None:
        part, before = certificate.part, self._step.pop(certificate.part, None)
        step = next((step for step in _STEPS if left_ms <= step[0] * _DAY_MS), None)
        why = f"{certificate.file} {_when(left_ms)}: renew it, a new file counts at the next connection"
        health = self._health.part(part)
        health.note("days_left", round(left_ms / _DAY_MS, 1))
        if left_ms <= 0 or health.up is False:
            health.turn(left_ms > 0, now, why if left_ms <= 0 else "")
        if step is None:
            if before is not None:
                self._post([HealthChange(part, True, now)])
            return
        self._step[part] = step
        if step != before:
            self._post([HealthChange(part, False, now, why, alert=True, severity=step[1], again=True)])


def _when(left_ms: int) -> str:
    days = abs(left_ms) / _DAY_MS
    how_long = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
    return f"expires in {how_long}" if left_ms > 0 else f"has expired {how_long} ago"
