"""What a metered link may cost in a day, and who may still spend of it. Pure: time and bytes come in.

Promises: no class is let through once its share is used, so a day costs at most the budget and the one message that
was begun; alerts, decisions and the ledger have a reserve that nothing else touches; the rest is paced over the day,
predictions before live telemetry before what waited. A day is 24 hours of monotonic time, of whatever boots.
"""

from __future__ import annotations

from copy import copy
from enum import IntEnum
from typing import Annotated, Any

import msgspec

DAY_NS = 86_400_000_000_000
OVERHEAD_BYTES = 320
"""Of a row beside its body, at most of most: topic and properties, the answer, TCP, IP and TLS headers both ways."""
_PER_MILLE = 50
"""Of the body: a header for each segment of 1,400 bytes."""
_PING_BYTES = 240
"""A ping and its answer with their TCP acknowledgements."""
_PINGS = 0.75
"""The client pings after this part of the keepalive."""
_DOCUMENTS = 20
"""Health and the like may take one part in so many."""
_FIRST_DOCUMENTS_BYTES = 16_384
_STRIDE = 100

_Amount = Annotated[int, msgspec.Meta(ge=0, le=2**50)]


class Spender(IntEnum):
    """Who wants to send. The first four in the order in which they are held back last."""

    URGENT = 0
    PREDICTION = 1
    LIVE = 2
    BACKLOG = 3
    DOCUMENT = 4


_AHEAD = {Spender.PREDICTION: 24, Spender.LIVE: 48, Spender.BACKLOG: 0, Spender.DOCUMENT: 12}
"""How far each may run ahead of an even pace: one part of the day's bytes in so many. Documents have a bound of
their own beside."""


class Limits(msgspec.Struct, frozen=True):
    """Bytes. `reserve_bytes` of `per_day_bytes` is for alerts, decisions and the ledger alone."""

    per_day_bytes: int
    reserve_bytes: int
    keepalive_s: int = 30
    dial_bytes: int = 600
    """What an attempt costs that comes to nothing: with TLS, certificates have been sent by then."""


class Spent(msgspec.Struct, frozen=True):
    """What is kept over a restart: how much of the day is over at `mono_ns` of `boot`, and what it has cost. `open`:
    the run went on, and may have spent a stretch more; `lost` is what this day was charged for such runs."""

    elapsed_ns: Annotated[int, msgspec.Meta(ge=0, lt=DAY_NS)] = 0
    used: _Amount = 0
    urgent: _Amount = 0
    documents: _Amount = 0
    boot: str = ""
    mono_ns: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    open: bool = False
    lost: _Amount = 0


def cost_bytes(body_bytes: int) -> int:
    """What a message with such a body costs on the wire, as it is charged before anybody can measure it."""
    return body_bytes + body_bytes * _PER_MILLE // 1000 + OVERHEAD_BYTES


def stretch_bytes(limits: Limits) -> int:
    """What is spent at most before it is written down again."""
    return limits.per_day_bytes // _STRIDE


class Budget:
    """One thread spends; `to_dict` from any. Nothing is counted while the connection is on a link that is free."""

    def __init__(self, limits: Limits, before: Spent, boot: str, now_ns: int) -> None:
        self.limits = limits
        self.metered = True
        self._boot = boot
        self._elapsed_ns = before.elapsed_ns + _since(before, boot, now_ns)
        self._at_ns = now_ns
        self._settled = before.used
        """Of the day, by connections that have ended."""
        self._lost = before.lost or (stretch_bytes(limits) if before.open else 0)
        """Once a day, however often it is killed, and never held against the urgent: a box that crashes in a loop
        would be silent otherwise."""
        self._urgent = before.urgent
        self._documents = before.documents
        self._charged = 0
        self._measured = 0
        """Of this connection: what was charged beforehand, and what the kernel has counted since."""
        self._measured_before = 0
        """Of this connection, on the day before."""
        pings = DAY_NS / 1e9 / (limits.keepalive_s * _PINGS)
        self._upkeep = min(round(pings * _PING_BYTES), limits.per_day_bytes // 2)
        self._free = max(limits.per_day_bytes - limits.reserve_bytes - self._upkeep, 0)
        self._turn_over(now_ns)

    # what happens

    def connected(self, *, metered: bool, now_ns: int) -> None:
        self._turn_over(now_ns)
        self.metered = metered
        if not metered:
            self._charged = self._measured = 0  # what its greeting cost was free too

    def spend(self, who: Spender, body_bytes: int, now_ns: int) -> None:
        """A message is handed over, whether or not it will arrive."""
        self._turn_over(now_ns)
        if not self.metered:
            return
        cost = cost_bytes(body_bytes)
        self._charged += cost
        if who is Spender.URGENT:
            self._urgent += cost
        elif who is Spender.DOCUMENT:
            self._documents += cost

    def measured(self, total_bytes: int, now_ns: int) -> None:
        """What this connection has cost since it began, both ways, headers included."""
        self._turn_over(now_ns)
        if self.metered:
            self._measured = max(self._measured, total_bytes - self._measured_before)

    def ended(self, now_ns: int) -> None:
        """The connection, or an attempt at one, is over."""
        self._turn_over(now_ns)
        if self.metered:
            least = 0 if self._measured_before else self.limits.dial_bytes
            self._settled += max(self._charged, self._measured, least)
        self._charged = self._measured = self._measured_before = 0

    # what may be spent

    def allows(self, who: Spender, now_ns: int) -> bool:
        """Whether one more message of this kind may be begun."""
        if not self.metered:
            return True
        self._turn_over(now_ns)
        return self._room(who) > 0

    def wait_ns(self, who: Spender, now_ns: int) -> int:
        """How long until `allows`, if nobody else spends; 0 where it does now."""
        if self.allows(who, now_ns):
            return 0
        until_tomorrow = DAY_NS - self._elapsed_ns
        if who is Spender.URGENT or not self._free:
            return until_tomorrow
        owed = self._others() - self._ahead(who)
        return max(min(until_tomorrow, owed * DAY_NS // self._free - self._elapsed_ns + 1), 1)

    @property
    def telemetry_bytes(self) -> int:
        """What a whole day carries beside the reserve, at most: what waits beyond this cannot be carried."""
        return self._free

    def spent(self, now_ns: int) -> Spent:
        """To be kept."""
        self._turn_over(now_ns)
        used, lost = self._used(), self._lost
        return Spent(self._elapsed_ns, used, self._urgent, self._documents, self._boot, now_ns, lost=lost)

    def to_dict(self, now_ns: int) -> dict[str, Any]:
        """For status: bytes of today, what waits, and when it goes on."""
        return copy(self)._told(now_ns)  # another thread asks: it changes nothing

    def _told(self, now_ns: int) -> dict[str, Any]:
        whose = (Spender.URGENT, Spender.PREDICTION, Spender.LIVE, Spender.BACKLOG)
        waits = {who.name.lower(): self.wait_ns(who, now_ns) for who in whose} if self.metered else {}
        per_day, used = self.limits.per_day_bytes, self._used() + self._lost
        return {
            "metered": self.metered,
            "per_day_bytes": per_day,
            "used_bytes": used,
            "left_bytes": max(per_day - used, 0),
            "reserve_left_bytes": self._reserve_left(),
            "upkeep_bytes": self._upkeep,
            "day_ends_s": round((DAY_NS - self._elapsed_ns) / 1e9),
            "waits_s": {name: round(wait / 1e9, 1) for name, wait in waits.items() if wait},
        }

    def _room(self, who: Spender) -> int:
        if who is Spender.URGENT:
            return self.limits.per_day_bytes - self._used() - self._upkeep_left()
        line = self._free * self._elapsed_ns // DAY_NS + self._ahead(who)
        room = min(
            line - self._others(), self.limits.per_day_bytes - self._used() - self._lost - self._reserve_left()
        )
        if who is Spender.DOCUMENT:
            return min(room, line // _DOCUMENTS + _FIRST_DOCUMENTS_BYTES - self._documents)
        return room

    def _ahead(self, who: Spender) -> int:
        return self._free // _AHEAD[who] if _AHEAD[who] else 0

    def _used(self) -> int:
        return self._settled + max(self._charged, self._measured)

    def _others(self) -> int:
        """What all but the urgent have cost, without the line's own upkeep of the time that is over."""
        return max(self._used() - self._urgent - (self._upkeep - self._upkeep_left()), 0) + self._lost

    def _reserve_left(self) -> int:
        return max(self.limits.reserve_bytes - self._urgent, 0)

    def _upkeep_left(self) -> int:
        return self._upkeep * (DAY_NS - self._elapsed_ns) // DAY_NS

    def _turn_over(self, now_ns: int) -> None:
        """Time passes; a new day begins with nothing spent."""
        self._elapsed_ns += max(now_ns - self._at_ns, 0)
        self._at_ns = max(now_ns, self._at_ns)
        if self._elapsed_ns < DAY_NS:
            return
        self._elapsed_ns %= DAY_NS
        self._measured_before += self._measured
        self._settled = self._urgent = self._documents = self._charged = self._measured = self._lost = 0


def _since(before: Spent, boot: str, now_ns: int) -> int:
    """How long ago that was, at least: of the time that a box was off nobody knows."""
    if not before.boot:
        return 0
    same_boot = before.boot == boot and now_ns >= before.mono_ns
    return now_ns - before.mono_ns if same_boot else now_ns
