"""What each part of the agent counts and says of itself; status, the backend and the watchdog read it here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from edge_agent.types import Stamp, Value

_QUARANTINE = 16
_QUARANTINE_BYTES = 200
_RATE_NS = 5_000_000_000


class Arrivals:
    """When something came last, and how many come a second: over the last five to ten seconds, or since the last
    one where that is longer. One writer."""

    def __init__(self) -> None:
        self.last_ns = 0
        self._began_ns = 0
        self._items = 0
        self._earlier = (0, 0)

    def add(self, n: int, mono_ns: int) -> None:
        if not self.last_ns:
            self._began_ns, self._earlier = mono_ns, (mono_ns, 0)
        elif mono_ns - self._began_ns >= _RATE_NS:
            self._earlier = (self._began_ns, self._items)
            self._began_ns, self._items = mono_ns, 0
        self.last_ns = mono_ns
        self._items += n

    def rate_hz(self, mono_ns: int) -> float:
        began_ns, items = self._earlier
        if mono_ns - self._began_ns >= _RATE_NS:
            began_ns, items = self._began_ns, 0
        return (items + self._items) / max((mono_ns - began_ns) / 1e9, 1.0)


class PartHealth:
    """Counts, latest values and quarantined items of one part. Every method may be called from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up: bool | None = None
        self.since: Stamp | None = None
        self.reason = ""
        self._counts: dict[str, int] = {}
        self._arrivals = Arrivals()
        self._notes: dict[str, Value] = {}
        self._quarantined: deque[tuple[str, bytes]] = deque(maxlen=_QUARANTINE)
        self._lock = Lock()

    def count(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + n

    def heard(self, n: int, mono_ns: int) -> None:
        """So many items came now; by one thread only."""
        self.count("items", n)
        self._arrivals.add(n, mono_ns)

    def note(self, name: str, value: Value) -> None:
        self._notes[name] = value

    def quarantine(self, reason: str, item: bytes) -> None:
        self.count(reason)
        self._quarantined.append((reason, bytes(item[:_QUARANTINE_BYTES])))

    def turn(self, up: bool, stamp: Stamp, reason: str) -> bool:
        """Notes the state; True when it changed."""
        changed = up != self.up
        if changed:
            self.up, self.since = up, stamp
        self.reason = reason
        return changed

    def value(self, name: str) -> int:
        return self._counts.get(name, 0)

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def to_dict(self, mono_ns: int) -> dict[str, object]:
        """For people and JSON: bytes are shown escaped, never raw."""
        out: dict[str, object] = {"name": self.name, "up": self.up, "counts": self.counts()}
        if self.since is not None:
            out["since_s"] = round((mono_ns - self.since.mono_ns) / 1e9, 1)
        if self._arrivals.last_ns:
            out["age_s"] = round((mono_ns - self._arrivals.last_ns) / 1e9, 1)
            out["rate_hz"] = round(self._arrivals.rate_hz(mono_ns), 2)
        if self.reason:
            out["reason"] = self.reason
        if self._notes:
            out["notes"] = dict(self._notes)
        if self._quarantined:
            shown = [{"reason": r, "item": ascii(item)[2:-1]} for r, item in tuple(self._quarantined)]
            out["quarantine"] = shown
        return out


class Health:
    """All parts, by name. Parts are made at start; a status document is a snapshot of them."""

    def __init__(self) -> None:
        self._parts: dict[str, PartHealth] = {}
        self._sections: dict[str, Callable[[], dict[str, object]]] = {}

    def part(self, name: str) -> PartHealth:
        """The part of that name, made on first use."""
        return self._parts.setdefault(name, PartHealth(name))

    def section(self, name: str, describe: Callable[[], dict[str, object]]) -> None:
        """A further piece of the status document, computed when somebody asks."""
        self._sections[name] = describe

    def parts(self) -> list[PartHealth]:
        return list(self._parts.values())

    def to_dict(self, mono_ns: int) -> dict[str, object]:
        document: dict[str, object] = {name: describe() for name, describe in self._sections.items()}
        document["parts"] = [part.to_dict(mono_ns) for part in self.parts()]
        return document
