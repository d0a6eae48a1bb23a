"""What was done to microcontrollers: one line for each beginning and each end, appended and synced, never changed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_FILE = Path("mcu") / "journal.jsonl"
_LAST_BYTES = 1 << 20


def write(data_dir: Path | None, entry: dict[str, Any]) -> None:
    """Appends `entry` with who and when. Without a site there is nowhere to write it. Raises OSError."""
    if data_dir is None:
        return
    path = data_dir / _FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = json.dumps({"t": when, "by": f"uid {_person()}", **entry}) + "\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _begin_a_line(path, fd)
        os.write(fd, line.encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)


def last(data_dir: Path | None) -> dict[str, dict[str, Any]]:
    """The newest entry of each device; lines that a power cut has torn are passed over."""
    newest: dict[str, dict[str, Any]] = {}
    try:
        with ((data_dir or Path("/nowhere")) / _FILE).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LAST_BYTES, 0))
            lines = file.read().splitlines()
    except OSError:
        return newest
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("mcu"), str):
            newest[entry["mcu"]] = entry
    return newest


def _person() -> str:
    """Who stands behind sudo, where one does."""
    return os.environ.get("SUDO_UID", str(os.getuid()))


def _begin_a_line(path: Path, fd: int) -> None:
    """A power cut may have left half of one."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                os.write(fd, b"\n")
