"""Every event in the order in which the engine took it: what `replay` feeds through it again.

A log is a header, then events, each a MessagePack document behind its length and a CRC-32 over all documents up to
and with it (u32, big-endian); a length of 0 is the end. So nothing is changed, left out, put elsewhere or cut off
unnoticed. `Recorder` keeps everything in one file; `Ring` keeps the newest megabytes in a folder (a tmpfs), each part
with a CRC of its own and without an end, and copies them to disk on request.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Protocol

import msgspec

from edge_agent.decisions import NOTHING, Remembered
from edge_agent.errors import Rejected
from edge_agent.types import Alert, Decision, Event
from edge_agent.unreadable import UNREADABLE

_PREFIX = struct.Struct(">II")
_MAGIC = "edge-agent-events/1"
_MAX_EVENT_BYTES = 1 << 24


class Header(msgspec.Struct, frozen=True):
    """What a replay must agree with: the epoch that numbers belong to, and the site file by its hash."""

    magic: str
    epoch: str
    boot: str
    site_sha256: str
    version: str
    before: Remembered
    """What the run before it left raised."""
    whole: bool
    """False for a ring: the events before it are gone, so windows and timers start cold."""


class EventSink(Protocol):
    def append(self, events: Sequence[Event]) -> None: ...
    def close(self) -> None: ...


_encode = msgspec.msgpack.Encoder().encode


class _Framer:
    """Documents to bytes, each with the CRC of all before it."""

    def __init__(self) -> None:
        self._crc = 0

    def framed(self, documents: Sequence[Event | Header]) -> bytes:
        crc = self._crc
        out: list[bytes] = []
        for document in documents:
            body = _encode(document)
            crc = zlib.crc32(body, crc)
            out += (_PREFIX.pack(len(body), crc), body)
        self._crc = crc
        return b"".join(out)

    def end(self) -> bytes:
        return _PREFIX.pack(0, self._crc)


class Recorder:
    """Keeps everything in `path`, and beside it, in `decisions_of(path)`, what the engine decided.

    Raises OSError where one of the two cannot be made, `path` also where it is there already. `begin` comes first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._framer = _Framer()
        self._decided: deque[bytes] = deque(maxlen=100_000)
        self._file: BufferedWriter = path.open("xb")
        with ExitStack() as undo:
            undo.callback(path.unlink)
            undo.callback(self._file.close)
            self._decisions: BufferedWriter = decisions_of(path).open("wb")
            undo.pop_all()

    def begin(self, header: Header) -> None:
        self._file.write(self._framer.framed([header]))

    def discard(self) -> None:
        """Leaves nothing behind: the agent that it was for does not start."""
        for file, path in ((self._file, self._path), (self._decisions, decisions_of(self._path))):
            with suppress(OSError):
                file.close()
                path.unlink()

    def append(self, events: Sequence[Event]) -> None:
        """Handed to the system at once: what an agent that is killed had recorded is there."""
        self._file.write(self._framer.framed(events))
        self._file.flush()
        self._decisions.write(b"".join(self._decided))
        self._decisions.flush()
        self._decided.clear()

    def decided(self, item: Decision | Alert) -> None:
        """Written with the events that follow it."""
        self._decided.append(decision_line(item))

    def close(self) -> None:
        self._file.write(self._framer.end())
        for file in (self._file, self._decisions):
            file.flush()
            os.fsync(file.fileno())
            file.close()


class Ring:
    """The newest `size_bytes` in files of an eighth of that; older files are deleted. One writer."""

    def __init__(self, folder: Path, header: Header, size_bytes: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._header = header
        self._part_bytes = size_bytes // 8
        self._number = 0
        self._file = self._next()

    def append(self, events: Sequence[Event]) -> None:
        self._written += self._file.write(self._framer.framed(events))
        if self._written >= self._part_bytes:
            self._file.close()
            self._file = self._next()

    def freeze(self, target: Path) -> None:
        """Copies what is there into the one file `target`, on disk. From any thread."""
        temporary = target.with_suffix(".part")
        with temporary.open("wb") as out:
            out.write(_Framer().framed([self._header]))
            for part in sorted(self._folder.glob("*.events")):
                with suppress(FileNotFoundError):
                    out.write(part.read_bytes())
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)

    def close(self) -> None:
        self._file.close()

    def _next(self) -> FileIO:
        self._number += 1
        self._written = 0
        self._framer = _Framer()
        (self._folder / f"{self._number - 8:08d}.events").unlink(missing_ok=True)
        return (self._folder / f"{self._number:08d}.events").open("wb", buffering=0)


class Tolerant:
    """A sink whose disk may fail: then it is given up, with the reason in `failing`, and the engine goes on."""

    def __init__(self, sink: EventSink) -> None:
        self.failing = ""
        self._sink = sink

    def append(self, events: Sequence[Event]) -> None:
        if not self.failing:
            self._try(lambda: self._sink.append(events))

    def close(self) -> None:
        self._try(self._sink.close)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as e:
            self.failing = self.failing or f"events are no longer recorded: {e.strerror or e}"


def decisions_of(log: Path) -> Path:
    return log.with_name(log.name + ".decisions")


def decision_line(item: Decision | Alert) -> bytes:
    """One JSON line; the same decision gives the same bytes."""
    return msgspec.json.encode(item) + b"\n"


def header(
    *, epoch: str, boot: str, site_sha256: str, version: str, whole: bool, before: Remembered = NOTHING
) -> Header:
    return Header(_MAGIC, epoch, boot, site_sha256, version, before, whole)


def read_log(path: Path, *, to_its_end: bool = False) -> tuple[Header, Iterator[Event]]:
    """The header, and the events as they are read. Raises Rejected where the file is no event log, and while
    iterating where it was changed. A log without its end, of a recorder that was killed, ends with its last whole
    event; with `to_its_end` that is an error too."""
    frames = _frames(path, to_its_end)
    body, _, _ = next(frames, (b"", 0, True))
    try:
        head = msgspec.msgpack.decode(body, type=Header)
    except UNREADABLE as e:
        raise Rejected(f"{path}: not an event log ({e})", hint="give a file made by run --record") from e
    if head.magic != _MAGIC:
        raise Rejected(f"{path}: an event log of another kind, {head.magic!r}")
    return head, _events(frames, path, whole=head.whole)


def _events(frames: Iterator[_Frame], path: Path, *, whole: bool) -> Iterator[Event]:
    decode = msgspec.msgpack.Decoder(Event).decode
    for number, (body, at, follows) in enumerate(frames, 1):
        if whole and not follows:
            raise _changed(path, at)
        try:
            yield decode(body)
        except msgspec.DecodeError as e:
            raise Rejected(f"{path}: event {number} is damaged: {e}") from e


_Frame = tuple[bytes, int, bool]
"""Body, its place in the file, and whether it follows the one before; it does not where a part of a ring begins."""


def _frames(path: Path, to_its_end: bool) -> Iterator[_Frame]:
    crc = at = 0
    with path.open("rb") as file:
        while len(prefix := file.read(_PREFIX.size)) == _PREFIX.size:
            length, told = _PREFIX.unpack(prefix)
            if length > _MAX_EVENT_BYTES:
                raise _changed(path, at)
            body = file.read(length)
            if len(body) < length:
                break
            follows = told == zlib.crc32(body, crc)
            if not length:
                if not follows or file.read(1):
                    raise _changed(path, at)
                return
            if not follows and told != zlib.crc32(body):
                raise _changed(path, at)
            yield body, at, follows
            crc, at = told, file.tell()
    if to_its_end:
        raise Rejected(f"{path}: cut off at byte {at}", hint="--force goes as far as it goes")


def _changed(path: Path, at: int) -> Rejected:
    return Rejected(f"{path}: changed or damaged at byte {at}", hint="take the log as it was recorded")
