"""From which folders a model package may come. A site file must not make the agent read just any path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SYSTEM_FOLDERS = (Path("/var/lib/edge-agent"), Path("/etc/edge-agent"))

_KEPT = (
    *map(Path, ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-")),
    *map(Path, ("/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/proc")),
)


class Outside(Exception):
    """A path that is refused; says why without repeating what is there."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def is_there(path: Path) -> bool:
    """False also where the system will not tell: a name too long, a folder that is closed to us."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def belongs_to_system(path: str) -> bool:
    """Whether an absolute path leads, links followed, to what holds the operating system's own secrets."""
    if not path.startswith("/") or "\0" in path:
        return False
    real = Path(os.path.realpath(path))
    return ".ssh" in real.parts or any(real.is_relative_to(kept) for kept in _KEPT)


@dataclass(frozen=True, slots=True)
class PackageFolders:
    """The folders of one site: that of the site file first, then the project's models, the system's, the data."""

    site: Path
    models: Path | None
    data: Path

    @property
    def roots(self) -> tuple[Path, ...]:
        models = () if self.models is None else (self.models,)
        return (self.site, *models, *SYSTEM_FOLDERS, self.data)

    def resolve(self, package: str) -> Path:
        """The package's directory with all links followed; relative to the site file, or else to the project's
        models. It need not exist. Raises Outside where it leaves the allowed folders, or is no directory."""
        candidates = [folder / package for folder in (self.site, self.models) if folder is not None]
        found = next((path for path in candidates if is_there(path)), candidates[0])
        real = Path(os.path.realpath(found))
        if not any(real.is_relative_to(os.path.realpath(root)) for root in self.roots):
            allowed = ", ".join(dict.fromkeys(str(root) for root in self.roots))
            raise Outside("is outside the folders that packages may come from", f"put it into one of: {allowed}")
        if is_there(real) and not real.is_dir():
            raise Outside("is not a directory", "give the directory that holds manifest.toml")
        return real
