"""Who has a device open: what a technician needs to know when a port is busy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def holders(device: str) -> list[str]:
    """`minicom (pid 812)` for each process seen to have `device` open; other users' processes cannot be seen."""
    path = os.path.realpath(device)
    return [_describe(process) for process in Path("/proc").glob("[0-9]*") if _has_open(process, path)]


def _has_open(process: Path, path: str) -> bool:
    # a process may end, or belong to somebody else, at any step
    with suppress(OSError):
        for fd in (process / "fd").iterdir():
            with suppress(OSError):
                if str(fd.readlink()) == path:
                    return True
    return False


def _describe(process: Path) -> str:
    if int(process.name) == os.getpid():
        return "this agent itself, under another name"
    name = "a process"
    with suppress(OSError, UnicodeDecodeError):
        name = (process / "comm").read_text(encoding="utf-8").strip()
    return f"{name!a} (pid {process.name})"
