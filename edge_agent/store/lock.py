"""One agent per data directory: a lock that the kernel gives back when its holder is gone, however it went."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import Fatal, Retryable


class DirectoryLock:
    """Held from construction to `close`. Raises Fatal when another process holds it."""

    def __init__(self, path: Path) -> None:
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise Retryable(f"{path}: {error.strerror}", hint="check who owns the data directory") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            raise Fatal(
                f"{path.parent} is in use by another agent (process {holder})",
                hint="stop that one first, or give this one a data_dir of its own",
            ) from error
        with suppress(OSError):  # the number is for the message above; a full disk must not stop the start here
            os.truncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        os.close(self._handle)
