"""A file that is whole or not there: written beside its name, synced, renamed; gone when the command ends early."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[Path]:
    """The path to write to, of an empty file. Raises Fatal where there is a file already, unless `force`, and for
    what is no file at all."""
    refuse_target(path, force=force)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640))
    try:
        yield beside
        _sync(beside)
        refuse_target(path, force=force)
        beside.replace(path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def refuse_target(path: Path, *, force: bool) -> None:
    """Raises Fatal where nothing may be written at `path`."""
    if ".." in path.parts:
        raise _refused(path, "a name with .. in it", "give the folder by its own name")
    if not path.name:
        raise _refused(path, "not the name of a file", "give one")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _refused(path, "a link, a folder or a device, not a file", "give another name")
    if path.exists() and not force:
        raise _refused(path, "there already", "give another name, or --force to replace it")
    if not path.parent.is_dir():
        raise _refused(path, "in a folder that is not there", f"mkdir -p {path.parent}")


def _refused(path: Path, why: str, hint: str) -> Fatal:
    return Fatal(f"{path} is {why}", hint=hint, exit_code=ExitCode.CONFIGURATION)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
