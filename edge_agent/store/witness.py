"""Where every stream and every device stands, told after each commit to a file that outlives the process.

A process that is killed writes no note at its end: a last row that somebody takes away before the next start would be
missed by nobody. And a damaged database takes a device's place along: what the device drops meanwhile would be missed
by nobody. The file lies on a tmpfs, so that it costs no flash; it is not synced, and a power cut takes it. It never
names a number that was not committed, and a device is told of a place only after it.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.store.identity import StartNo
from edge_agent.unreadable import UNREADABLE


class Said(msgspec.Struct, frozen=True):
    """`last`: by stream, the highest number that is committed or declared lost; `cursors`: by stream, the device's
    own number of its last committed sample."""

    epoch: str = ""
    last: dict[str, StartNo] = {}
    cursors: dict[str, int] = {}


_decoder = msgspec.json.Decoder(Said)


class Witness:
    """`path`: None where nobody is to be told. A file that cannot be written or read says nothing, or less."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._beside = path and path.with_name(path.name + ".new")

    def tell(self, said: Said) -> None:
        if self._path is None or self._beside is None:
            return
        text = msgspec.json.encode(said)
        with suppress(OSError):
            self._beside.write_bytes(text + b"\n%08x\n" % zlib.crc32(text))
            self._beside.replace(self._path)

    def told(self, epoch: str) -> Said:
        """Nothing where it was told of another epoch."""
        if self._path is None:
            return Said()
        try:
            text, _, check = self._path.read_bytes().partition(b"\n")
            said = _decoder.decode(text)
        except (OSError, *UNREADABLE):
            return Said()
        return said if said.epoch == epoch and check == b"%08x\n" % zlib.crc32(text) else Said()
