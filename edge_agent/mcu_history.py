"""What people did to microcontrollers: one line for each beginning and each end, appended and synced, never changed.

Commands write of their updates, the agent of the outputs that it sets for them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

_FILE = Path("mcu") / "history.jsonl"
_LAST_BYTES = 1 << 20


def write(data_dir: Path | None, entry: dict[str, Any], by: str = "") -> None:
    """Appends `entry` with when and who: `by`, or whose process this is. Without a site there is nowhere to write it.
    Raises OSError."""
    if data_dir is None:
        return
    path = data_dir / _FILE
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = json.dumps({"t": when, "by": by or f"uid {_person()}", **entry}) + "\n"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        _make_folder(path.parent)
        with open(path, "a+b", opener=_private) as file:
            file.write(_end_of_line(file) + line.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        # one that comes of writing names no file
        raise OSError(e.errno, e.strerror, str(path)) from e


def last(data_dir: Path) -> dict[str, dict[str, Any]]:
    """How the newest update, confirmation or rollback of each device ended or began; lines that a power cut has torn
    are passed over. Raises OSError for a history that is there and cannot be read."""
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
        if isinstance(entry, dict) and isinstance(entry.get("mcu"), str) and entry.get("do") != "set":
            newest[entry["mcu"]] = entry
    return newest


def _person() -> str:
    """Who stands behind sudo, where one does."""
    return os.environ.get("SUDO_UID", str(os.getuid()))


def _make_folder(path: Path) -> None:
    """As the owner of the folder above: what root has made, the agent must be able to go on with."""
    try:
        path.mkdir(mode=0o750)
    except FileExistsError:
        return
    above = path.parent.stat()
    os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)


def _private(path: str, flags: int) -> int:
    """Follows no link that stands there, and gives away nothing that it has not made."""
    try:
        made = os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    except FileExistsError:
        return os.open(path, flags | os.O_NOFOLLOW, 0o640)
    above = Path(path).parent.stat()
    os.fchown(made, above.st_uid, above.st_gid)
    return made


def _end_of_line(file: BinaryIO) -> bytes:
    """For a line that a power cut or a full disk has left half."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
