"""Where every stream of the epoch stands, told after each commit to a file that outlives the process.

A process that is killed writes no note at its end: a last row that somebody takes away before the next start would be
missed by nobody. The file lies on a tmpfs, so that it costs no flash; it is not synced, and a power cut takes it. It
never names a number that was not committed.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.store.identity import StartNo
from edge_agent.unreadable import UNREADABLE


class _Said(msgspec.Struct, frozen=True):
    epoch: str
    last: dict[str, StartNo]


_decoder = msgspec.json.Decoder(_Said)


class Witness:
    """`path`: None where nobody is to be told. A file that cannot be written or read says nothing, or less."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._beside = path and path.with_name(path.name + ".new")

    def tell(self, epoch: str, last: dict[str, int]) -> None:
        """`last`: by stream, the highest number that is committed or declared lost."""
        if self._path is None or self._beside is None:
            return
        text = msgspec.json.encode(_Said(epoch, last))
        with suppress(OSError):
            self._beside.write_bytes(text + b"\n%08x\n" % zlib.crc32(text))
            self._beside.replace(self._path)

    def highest(self, epoch: str, last: dict[str, int]) -> dict[str, int]:
        """`last` of this epoch, raised to what was told."""
        told = self._told(epoch)
        return {stream: max(last.get(stream, -1), told.get(stream, -1)) for stream in {**last, **told}}

    def _told(self, epoch: str) -> dict[str, int]:
        if self._path is None:
            return {}
        try:
            text, _, check = self._path.read_bytes().partition(b"\n")
            said = _decoder.decode(text)
        except (OSError, *UNREADABLE):
            return {}
        return said.last if said.epoch == epoch and check == b"%08x\n" % zlib.crc32(text) else {}
