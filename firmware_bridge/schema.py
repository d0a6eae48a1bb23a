"""What a device says it has: streams and actuators, checked, bounded (PROTOCOL.md sections 3 and 4). Pure."""

from __future__ import annotations

from firmware_bridge.events import Device
from firmware_bridge.messages import Actuator, Info, Stream, fits, name_is_clean


def printable(text: str, limit: int = 64) -> str:
    """`text` cut to `limit` characters, with everything that could move a terminal or a log escaped."""
    cut = text[:limit]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


class Schema:
    """Collects the entries that INFO announced; entry numbers beyond it are ignored."""

    def __init__(self) -> None:
        self.device: Device | None = None
        self._info: Info | None = None
        self._entries: dict[tuple[type[Stream | Actuator], int], Stream | Actuator] = {}

    def clear(self) -> None:
        """The device booted: nothing that it said before holds."""
        self._info = None
        self._entries.clear()

    def begin(self, info: Info) -> None:
        """A hello was answered; entries of the same boot that came before stay."""
        if self._info is not None and self._shape(self._info) != self._shape(info):
            self._entries.clear()
        self._info = info

    @staticmethod
    def _shape(info: Info) -> tuple[int, int, int]:
        return info.boot, info.streams, info.actuators

    def add(self, entry: Stream | Actuator) -> None:
        """One entry; the last of an index counts."""
        if self._info is None:
            return
        count = self._info.streams if isinstance(entry, Stream) else self._info.actuators
        if entry.index < count:
            self._entries[type(entry), entry.index] = entry

    @property
    def complete(self) -> bool:
        """Whether INFO and all its entries are there."""
        return self._info is not None and len(self._entries) == self._info.streams + self._info.actuators

    def finish(self) -> Device:
        """The device, its unusable entries refused. Only when complete."""
        assert self._info is not None
        info = self._info
        refused: list[str] = []
        names: set[str] = set()
        streams = [self._checked(Stream, i, names, refused) for i in range(info.streams)]
        actuators = [self._checked(Actuator, i, names, refused) for i in range(info.actuators)]
        self.device = Device(
            printable(info.device),
            printable(info.firmware),
            info.boot,
            tuple(entry if isinstance(entry, Stream) else None for entry in streams),
            tuple(entry if isinstance(entry, Actuator) else None for entry in actuators),
            info.silence_ms,
            info.ring,
            tuple(refused),
        )
        return self.device

    def _checked(
        self, kind: type[Stream | Actuator], index: int, names: set[str], refused: list[str]
    ) -> Stream | Actuator | None:
        entry = self._entries[kind, index]
        reason = _objection(entry, names)
        if reason:
            refused.append(f"{kind.__name__.lower()} {index} {printable(entry.name)!r}: {reason}")
            return None
        names.add(entry.name)
        return entry

    def actuator(self, name: str) -> Actuator | None:
        """The usable actuator called `name`."""
        entries = self.device.actuators if self.device else ()
        return next((entry for entry in entries if entry and entry.name == name), None)

    def actuator_names(self, mask: int) -> tuple[str, ...]:
        """Names for the bits of `mask`; an unusable one by its number."""
        entries = self.device.actuators if self.device else ()
        chosen = [i for i in range(len(entries)) if mask >> i & 1]
        return tuple(_name(entries[i], i) for i in chosen)


def _name(entry: Actuator | None, index: int) -> str:
    return entry.name if entry else f"#{index}"


def _objection(entry: Stream | Actuator, names: set[str]) -> str:
    if not name_is_clean(entry.name):
        return "name is not [A-Za-z][A-Za-z0-9_.-]*"
    if entry.name in names:
        return "name is already taken"
    if not (entry.unit.isascii() and entry.unit.isprintable()):
        return "unit is not printable ASCII"
    limits = [entry.min, entry.max] + ([entry.safe] if isinstance(entry, Actuator) else [])
    if not all(fits(limit, entry.type) for limit in limits):
        return "range is not of the declared type"
    if isinstance(entry, Actuator) and not entry.min <= entry.safe <= entry.max:
        return "safe value is out of range"
    return ""
