"""What somebody beside the store holds: the backend, and the medium of the file uplink as its manifest names it."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_agent.contract import decode, messages
from edge_agent.contract.rows import deflate
from edge_agent.store.ranges import Ranges
from edge_agent.uplink.file import MANIFEST
from tests.store.accounting import Account

_LISTED = re.compile(rb"([0-9a-f]{64})  ([\w.-]+)\n")


class Received(Account):
    """What somebody beside the store holds; a row may come to him many times."""

    def add_row(self, stream, epoch, first, last):
        self.rows.setdefault((stream, epoch), Ranges()).add(first, last)

    def add_message(self, message):
        if isinstance(message, messages.Close):
            self.closed.pop(message.closed, None)
        super().add_message(message)

    def take(self, other: Account) -> None:
        for mine, theirs in ((self.rows, other.rows), (self.lost, other.lost)):
            for key, ranges in theirs.items():
                mine[key] = Ranges([*mine.get(key, ()), *ranges])
        self.closed |= other.closed


def missing(promised: Received, held: Received) -> list[tuple[str, str, int, int]]:
    """(stream, epoch, first, last) of the rows that were promised and are not held."""
    return [
        (stream, epoch, first, last)
        for (stream, epoch), ranges in promised.rows.items()
        for a, b in ranges
        for first, last in held.rows.get((stream, epoch), Ranges()).holes(a, b)
    ]


class _Line(msgspec.Struct):
    topic: str
    body: msgspec.Raw


def on_medium(medium: Path, known: dict[str, list[messages.RowMessage]] | None = None) -> Received:
    """The rows of every file that the manifest names and that has the digest it gives; `known` by digest."""
    known = {} if known is None else known
    manifest, out = medium / MANIFEST, Received()
    for listed, name in _LISTED.findall(manifest.read_bytes()) if manifest.exists() else ():
        path, wanted = medium / name.decode(), listed.decode()
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() == wanted:
            if wanted not in known:
                known[wanted] = list(_messages(content))
            for message in known[wanted]:
                out.add_message(message)
    return out


def _messages(content: bytes) -> Iterator[messages.RowMessage]:
    for line in gzip.decompress(content).splitlines():
        yield decode.decode_row(deflate(bytes(msgspec.json.decode(line, type=_Line).body)))
