"""The wall clock of a child process, set by a test through libfaketime."""

from __future__ import annotations

from pathlib import Path

import pytest

LIBRARIES = (*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("/usr/lib/faketime/libfaketime.so.1"))


class FakedWall:
    """What the agent's wall clock is ahead of this machine's; its monotonic clock stays real."""

    def __init__(self, folder: Path, ahead_s: float) -> None:
        library = next((path for path in LIBRARIES if path.exists()), None)
        if library is None:
            pytest.skip("libfaketime is not installed: sudo apt-get install faketime")
        self._file = folder / "faketime"
        self.environment = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        self.set(ahead_s)

    def set(self, ahead_s: float) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{ahead_s:+.0f}\n", encoding="ascii")
        beside.replace(self._file)
