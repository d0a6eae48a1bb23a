"""Which serial devices this box has, under names that survive renumbering, and who holds them. Opens none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edge_agent.links.holders import holders

_NAMES = ("ttyUSB*", "ttyACM*", "ttyAMA*", "ttyS*")


class FoundPort(msgspec.Struct, frozen=True):
    """`device` is the name to write down, `path` where it leads now."""

    device: str
    path: str
    held_by: tuple[str, ...]


def find_ports(given: Iterable[str] = (), *, dev: Path = Path("/dev"), sys: Path = Path("/sys")) -> list[FoundPort]:
    """Those given, or all there are. A port that is given keeps the name it is given by, unless it has a better."""
    stable = {os.path.realpath(link): str(link) for link in sorted((dev / "serial" / "by-id").glob("*"))}
    asked = list(given)
    names = asked or [*stable.values(), *(str(p) for n in _NAMES for p in sorted(dev.glob(n)) if _is_there(p, sys))]
    by_path: dict[str, str] = {}
    for name in names:
        path = os.path.realpath(name)
        by_path.setdefault(path, stable.get(path, name))
    return [FoundPort(name, path, tuple(holders(path))) for path, name in by_path.items()]


def _is_there(port: Path, sys: Path) -> bool:
    """The kernel makes ttyS0 to ttyS3 also where there is no chip: their type is 0."""
    try:
        return (sys / "class" / "tty" / port.name / "type").read_text(encoding="ascii").strip() != "0"
    except OSError:
        return True
