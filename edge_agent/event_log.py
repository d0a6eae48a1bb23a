"""Every event in the order in which the engine took it: what `replay` feeds through it again.

A log is a header, then events, each a MessagePack document behind its length (u32, big-endian). `Recorder` keeps
everything in one file; `Ring` keeps the newest megabytes in a folder (a tmpfs) and copies them to disk on request.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Protocol

import msgspec

from edge_agent.errors import Rejected
from edge_agent.types import Alert, Decision, Event

_LENGTH = struct.Struct(">I")
_MAGIC = "edge-agent-events/1"
_MAX_EVENT_BYTES = 1 << 24


class Header(msgspec.Struct, frozen=True):
    """What a replay must agree with: the epoch that numbers belong to, and the site file by its hash."""

    magic: str
    epoch: str
    boot: str
    site_sha256: str
    version: str
    whole: bool
    """False for a ring: the events before it are gone, so windows and timers start cold."""


class EventSink(Protocol):
    def append(self, events: Sequence[Event]) -> None: ...
    def close(self) -> None: ...


_encode = msgspec.msgpack.Encoder().encode


def _framed(document: Event | Header) -> bytes:
    body = _encode(document)
    return _LENGTH.pack(len(body)) + body


class Recorder:
    """Keeps everything in `path`, and beside it, in `decisions_of(path)`, what the engine decided."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file: BufferedWriter = path.open("wb")
        self._file.write(_framed(header))
        self._decisions: BufferedWriter = decisions_of(path).open("wb")

    def append(self, events: Sequence[Event]) -> None:
        self._file.write(b"".join(_framed(e) for e in events))

    def decided(self, item: Decision | Alert) -> None:
        self._decisions.write(decision_line(item))

    def close(self) -> None:
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
        self._file.write(b"".join([_framed(e) for e in events]))
        if self._file.tell() >= self._part_bytes:
            self._file.close()
            self._file = self._next()

    def freeze(self, target: Path) -> None:
        """Copies what is there into the one file `target`, on disk. From any thread."""
        temporary = target.with_suffix(".part")
        with temporary.open("wb") as out:
            out.write(_framed(self._header))
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
        (self._folder / f"{self._number - 8:08d}.events").unlink(missing_ok=True)
        return (self._folder / f"{self._number:08d}.events").open("wb", buffering=0)


def decisions_of(log: Path) -> Path:
    return log.with_name(log.name + ".decisions")


def decision_line(item: Decision | Alert) -> bytes:
    """One JSON line; the same decision gives the same bytes."""
    return msgspec.json.encode(item) + b"\n"


def header(*, epoch: str, boot: str, site_sha256: str, version: str, whole: bool) -> Header:
    return Header(_MAGIC, epoch, boot, site_sha256, version, whole)


def read_log(path: Path) -> tuple[Header, Iterator[Event]]:
    """The header, and the events as they are read. Raises Rejected where the file is no event log, and while
    iterating where it is damaged; a last event that was cut off is the end of the log, not an error."""
    frames = _frames(path.read_bytes(), path)
    try:
        head = msgspec.msgpack.decode(next(frames, b""), type=Header)
    except msgspec.DecodeError as e:
        raise Rejected(f"{path}: not an event log ({e})", hint="give a file made by run --record") from e
    if head.magic != _MAGIC:
        raise Rejected(f"{path}: an event log of another kind, {head.magic!r}")
    return head, _events(frames, path)


def _events(frames: Iterator[bytes], path: Path) -> Iterator[Event]:
    decode = msgspec.msgpack.Decoder(Event).decode
    for number, body in enumerate(frames, 1):
        try:
            yield decode(body)
        except msgspec.DecodeError as e:
            raise Rejected(f"{path}: event {number} is damaged: {e}") from e


def _frames(content: bytes, path: Path) -> Iterator[bytes]:
    at = 0
    while at + _LENGTH.size <= len(content):
        (size,) = _LENGTH.unpack_from(content, at)
        if size > _MAX_EVENT_BYTES:
            raise Rejected(f"{path}: a length of {size} at byte {at} cannot be", hint="the file is damaged there")
        at += _LENGTH.size
        if at + size > len(content):
            return
        yield content[at : at + size]
        at += size
