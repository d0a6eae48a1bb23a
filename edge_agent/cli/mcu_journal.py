"""What was done to microcontrollers: one line for each beginning and each end, appended and synced, never changed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

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
    try:
        with open(path, "a+b", opener=_private) as file:
            file.write(_end_of_line(file) + line.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        # one that comes of writing names no file
        raise OSError(e.errno, e.strerror, str(path)) from e


def last(data_dir: Path) -> dict[str, dict[str, Any]]:
    """The newest entry of each device; lines that a power cut has torn are passed over. Raises OSError for a journal
    that is there and cannot be read."""
    newest: dict[str, dict[str, Any]] = {}
    try:
        with (data_dir / _FILE).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LAST_BYTES, 0))
            lines = file.read().splitlines()
    except FileNotFoundError:
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


def _end_of_line(file: BinaryIO) -> bytes:
    """For a line that a power cut or a full disk has left half."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
