"""A SQLite file read without SQLite: page by page, whatever is broken beside the page that is looked at.

A damaged inner page or header makes SQLite give up thousands of rows that are whole. Here every leaf page is read
for itself (sqlite.org/fileformat2.html); what its cells say has to be believed by a checksum of the reader's own.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_WAL_HEADER, _FRAME_HEADER = 32, 24
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_MASK = 0xFFFFFFFF
_WORD = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer by its serial type."""
_FIRST_HEADER_BYTES = 100

Value = int | float | bytes | None


class Broken(ValueError):
    """A page or a record that contradicts itself."""


class Record(NamedTuple):
    """`row_id` is 0 in an index; texts are bytes as they are stored."""

    row_id: int
    values: tuple[Value, ...]
    place: tuple[int, int]
    """Page and cell, for `record_at`."""


def tell_nobody(_page: int) -> None:
    """Where nobody wants to see the progress."""


class PageFile:
    """The pages of a database with those of its -wal laid over them. Opens both read-only; `close` it."""

    def __init__(self, path: Path, wal: Path | None, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._wal = -1
        self._in_wal: dict[int, int] = {}
        self.count = -(-os.fstat(self._file).st_size // page_bytes)
        if wal is not None and wal.exists():
            self._wal = os.open(wal, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._in_wal = _committed_frames(self._wal, page_bytes)
            self.count = max(self.count, *self._in_wal, 0)

    def close(self) -> None:
        os.close(self._file)
        if self._wal >= 0:
            os.close(self._wal)

    def page(self, number: int) -> bytes:
        """Zeros where the file ends before it."""
        if number in self._in_wal:
            found = os.pread(self._wal, self.page_bytes, self._in_wal[number])
        else:
            found = os.pread(self._file, self.page_bytes, (number - 1) * self.page_bytes)
        return found.ljust(self.page_bytes, b"\0")

    def records(self, progress: Callable[[int], None] = tell_nobody) -> Iterator[Record]:
        """Of every leaf page that is in use, in the order of the file; what is broken is stepped over."""
        free = self._free_pages()
        for number in range(1, self.count + 1):
            progress(number)
            if number not in free:
                yield from self._records_of(number)

    def _records_of(self, number: int) -> Iterator[Record]:
        page = self.page(number)
        start = _FIRST_HEADER_BYTES if number == 1 else 0
        kind, cells = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
        if kind not in (_TABLE_LEAF, _INDEX_LEAF) or start + 8 + 2 * cells > self.page_bytes:
            return
        for at in dict.fromkeys(struct.unpack_from(f">{cells}H", page, start + 8)):  # each once, as in a sound page
            try:
                yield self._record(number, page, at, table=kind == _TABLE_LEAF)
            except (Broken, IndexError, struct.error):
                continue

    def record_at(self, place: tuple[int, int]) -> Record:
        """One of a table's that `records` found."""
        number, at = place
        return self._record(number, self.page(number), at, table=True)

    def _record(self, number: int, page: bytes, at: int, *, table: bool) -> Record:
        place = number, at
        size, at = _varint(page, at)
        row_id, at = _varint(page, at) if table else (0, at)
        if size > self.count * self.page_bytes:
            raise Broken("a record larger than the file")
        local = self._local_bytes(size, table=table)
        payload = page[at : at + local]
        if local < size:
            payload += self._overflow(int.from_bytes(page[at + local : at + local + 4], "big"), size - local)
        return Record(row_id, _values(payload), place)

    def _local_bytes(self, size: int, *, table: bool) -> int:
        most = self.page_bytes - 35 if table else (self.page_bytes - 12) * 64 // 255 - 23
        if size <= most:
            return size
        least = (self.page_bytes - 12) * 32 // 255 - 23
        spilt = least + (size - least) % (self.page_bytes - 4)
        return spilt if spilt <= most else least

    def _overflow(self, number: int, size: int) -> bytes:
        parts: list[bytes] = []
        passed: set[int] = set()
        while size > 0:
            if not 1 < number <= self.count or number in passed:
                raise Broken("an overflow chain that leads nowhere, or in a circle")
            passed.add(number)
            page = self.page(number)
            part = page[4 : 4 + size]
            parts.append(part)
            size -= len(part)
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)

    def _free_pages(self) -> set[int]:
        """Pages that hold only what was deleted, as far as the list of them can be read."""
        free: set[int] = set()
        trunk = int.from_bytes(self.page(1)[32:36], "big")
        while 1 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self.page(trunk)
            trunk, count = struct.unpack_from(">II", page)
            if count <= self.page_bytes // 4 - 2:
                free.update(struct.unpack_from(f">{count}I", page, 8))
        return free


def _committed_frames(wal: int, page_bytes: int) -> dict[int, int]:
    """By page number: where its newest committed content is. A damaged frame costs that frame only."""
    header = os.pread(wal, _WAL_HEADER, 0)
    if len(header) < _WAL_HEADER:
        return {}
    magic = int.from_bytes(header[:4], "big")
    order = _WAL_MAGIC.get(magic, "<" if sys.byteorder == "little" else ">")
    salts, seed = header[16:24], struct.unpack(">II", header[24:32])
    if _checksum(header[:24], (0, 0), order) != seed:
        salts = os.pread(wal, 8, _WAL_HEADER + 8)
    committed: dict[int, int] = {}
    pending: dict[int, int] = {}
    at = _WAL_HEADER
    while len(frame := os.pread(wal, _FRAME_HEADER + page_bytes, at)) == _FRAME_HEADER + page_bytes:
        number, is_commit = struct.unpack_from(">II", frame)
        if frame[8:16] != salts:
            break
        told = struct.unpack_from(">II", frame, 16)
        if _checksum(frame[:8] + frame[_FRAME_HEADER:], seed, order) == told:
            pending[number] = at + _FRAME_HEADER
            if is_commit:
                committed |= pending
                pending = {}
        seed = told
        at += _FRAME_HEADER + page_bytes
    return committed


def _checksum(content: bytes, seed: tuple[int, int], order: str) -> tuple[int, int]:
    s0, s1 = seed
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for i in range(0, len(words), 2):
        s0 = (s0 + words[i] + s1) & _MASK
        s1 = (s1 + words[i + 1] + s0) & _MASK
    return s0, s1


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        byte = page[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | page[at + 8], at + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    header_bytes, at = _varint(payload, 0)
    if header_bytes > len(payload):
        raise Broken("a record's header is longer than the record")
    place = header_bytes
    values: list[Value] = []
    while at < header_bytes:
        serial, at = _varint(payload, at)
        value, place = _value(payload, place, serial)
        values.append(value)
    if place != len(payload):
        raise Broken("a record's values are not as long as its header says")
    return tuple(values)


def _value(payload: bytes, place: int, serial: int) -> tuple[Value, int]:
    if serial == 0:
        return None, place
    if serial in (8, 9):
        return serial - 8, place
    if serial in (10, 11):
        raise Broken("a reserved type of value")
    size = 8 if serial == 7 else _WORD.get(serial) or (serial - 12) // 2
    part = payload[place : place + size]
    if serial == 7:
        return float(struct.unpack(">d", part)[0]), place + size
    return (int.from_bytes(part, "big", signed=True) if serial < 7 else part), place + size
