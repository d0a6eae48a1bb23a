"""What can lie on the disk after the power went: the recorded calls, replayed up to a moment, some of them lost.

A file's content is durable up to its last sync; what came after it may be there or not, each write for itself, in
any order, by sectors of 512 bytes. Of names (created, renamed, removed) there are two models: `ordered`, as ext4 and
others journal them: in their order, and all of them with any sync; `strict`, what POSIX promises: a name is only
durable when its folder was synced, and until then each change may be there without the others.

Not modelled: a drive that says "synced" and lies, and damage to sectors that nobody wrote.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.powercut.recorder import How, Op, Record

SECTOR = 512
STYLES = ("nothing", "subset", "prefix", "torn")
"""What of the pending calls reached the disk."""


class Change(NamedTuple):
    """Of a file's content: data written at an offset, or (None) a new size. `number` is its place in the program."""

    number: int
    offset: int
    data: bytes | None


class File:
    """`durable` is the content as of the last sync."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.pending: list[Change] = []

    def synced(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()


class Folder:
    """A name that is a folder."""


class Naming(NamedTuple):
    """One atomic change of names: what each of these paths is afterwards (None: no longer there)."""

    number: int
    now: dict[str, File | Folder | None]


class Disk:
    """`now` is what the running program sees."""

    def __init__(self, *, strict: bool, image: dict[str, bytes | None] | None = None) -> None:
        """`image`: by path, what is there and durable at first; None for a folder."""
        self._strict = strict
        self._durable: dict[str, File | Folder] = {
            path: Folder() if content is None else File(content) for path, content in (image or {}).items()
        }
        self._now = dict(self._durable)
        self._namings: list[Naming] = []
        self._open: dict[int, tuple[str, File | Folder]] = {}
        self._number = 0

    def do(self, record: Record) -> None:
        self._number += 1
        match record.op:
            case Op.OPEN:
                self._opened(record)
            case Op.WRITE:
                self._file(record).pending.append(Change(self._number, record.offset, record.first))
            case Op.SIZE:
                self._file(record).pending.append(Change(self._number, record.offset, None))
            case Op.SYNC:
                self._synced(record.handle)
            case Op.MARK:
                pass
            case _:
                self._named(record)

    def seen(self) -> dict[str, bytes | None]:
        """What the running program sees: everything it did."""
        return {
            path: None if isinstance(what, Folder) else bytes(_content(what, "all", {c.number for c in what.pending}))
            for path, what in self._now.items()
        }

    def image(self, style: str, rng: random.Random) -> dict[str, bytes | None]:
        """By path, what a start after the cut finds; None for a folder."""
        survives = self._survivors(style, rng)
        names = dict(self._durable)
        for naming in self._surviving_namings(style, survives, rng):
            _rename(names, naming)
        return {
            path: None if isinstance(what, Folder) else bytes(_content(what, style, survives, rng))
            for path, what in names.items()
            if all(str(above) in names for above in list(Path(path).parents)[:-1])
        }

    def _opened(self, record: Record) -> None:
        path, how = record.first.decode(), How(record.offset)
        if how & How.CREATED:
            self._rename({path: File()})
        if how & How.FOLDER and path not in self._now:
            self._now[path] = self._durable[path] = Folder()
        found = self._now[path]
        if how & How.EMPTIED and isinstance(found, File) and not how & How.CREATED:
            found.pending.append(Change(self._number, 0, None))
        self._open[record.handle] = path, found

    def _file(self, record: Record) -> File:
        file = self._open[record.handle][1]
        assert isinstance(file, File)
        return file

    def _synced(self, handle: int) -> None:
        path, what = self._open[handle]
        if isinstance(what, File):
            what.synced()
        kept = []
        for naming in self._namings:
            inside = any(str(Path(named).parent) == path for named in naming.now)
            if not self._strict or (isinstance(what, Folder) and inside):
                _rename(self._durable, naming)
            else:
                kept.append(naming)
        self._namings = kept

    def _named(self, record: Record) -> None:
        path, other = record.first.decode(), record.second.decode()
        match record.op:
            case Op.RENAME:
                self._rename({path: None, other: self._now[path]})
            case Op.LINK:
                self._rename({other: self._now[path]})
            case Op.MKDIR:
                self._rename({path: Folder()})
            case _:
                self._rename({path: None})

    def _rename(self, now: dict[str, File | Folder | None]) -> None:
        naming = Naming(self._number, now)
        _rename(self._now, naming)
        self._namings.append(naming)

    def _pending(self) -> Iterator[int]:
        files = {id(file): file for file in [*self._durable.values(), *self._now.values()]}
        for file in files.values():
            if isinstance(file, File):
                yield from (change.number for change in file.pending)
        yield from (naming.number for naming in self._namings)

    def _survivors(self, style: str, rng: random.Random) -> set[int]:
        numbers = sorted(set(self._pending()))
        match style:
            case "nothing":
                return set()
            case "prefix":
                return set(numbers[: rng.randint(0, len(numbers))])
            case "torn":
                return set(numbers)
        share = rng.choice((0.1, 0.5, 0.9))
        return {number for number in numbers if rng.random() < share}

    def _surviving_namings(self, style: str, survives: set[int], rng: random.Random) -> list[Naming]:
        if style == "nothing":
            return []
        if style == "prefix":
            return [naming for naming in self._namings if naming.number in survives]
        if self._strict:
            return [naming for naming in self._namings if rng.random() < 0.5]
        return self._namings[: rng.randint(0, len(self._namings))]


def _rename(names: dict[str, File | Folder], naming: Naming) -> None:
    for path, what in naming.now.items():
        if what is None:
            names.pop(path, None)
        else:
            names[path] = what


def _apply(content: bytearray, change: Change) -> None:
    if change.data is None:
        if change.offset < len(content):
            del content[change.offset :]
        else:
            content.extend(bytes(change.offset - len(content)))
        return
    if change.offset > len(content):
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.data)] = change.data


def _content(file: File, style: str, survives: set[int], rng: random.Random | None = None) -> bytearray:
    changes = [change for change in file.pending if change.number in survives]
    if not changes:
        return file.durable
    content = bytearray(file.durable)
    for change in changes:
        for part in _sectors(change, rng) if style == "torn" and rng else (change,):
            _apply(content, part)
    return content


def _sectors(change: Change, rng: random.Random) -> Iterator[Change]:
    """A random half of the sectors that a write touches; a new size is there or not."""
    if change.data is None:
        if rng.random() < 0.5:
            yield change
        return
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            yield Change(change.number, at, change.data[at - change.offset : until - change.offset])
        at = until


def taken(folder: Path) -> dict[str, bytes | None]:
    """The image of what lies in `folder`, without what SQLite makes anew."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }


def lay(image: dict[str, bytes | None], folder: Path) -> None:
    """The image as files in `folder`, which is empty."""
    for path in sorted(image):
        content = image[path]
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
