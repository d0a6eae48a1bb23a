"""The files of a package: opened without following links, refused where size or hash differ from the manifest."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path, PurePosixPath

from edge_agent.inference.manifest import ManifestError, PackageFile

_CHANGED = "the file is not the one the manifest was made for: copy the package again"


def read_file(path: Path, limit: int, place: str) -> bytes:
    """All bytes of a regular file of at most `limit` bytes."""
    with open_file(path, place) as f:
        size = os.fstat(f.fileno()).st_size
        if size > limit:
            raise ManifestError(place, f"{path.name} has {size} bytes, more than {limit}", hint="make it smaller")
        return f.read()


def open_file(path: Path, place: str) -> io.FileIO:
    """Open for reading; a device, a FIFO or a link is refused without waiting for it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        hint = "check the path, or copy the package again"
        raise ManifestError(place, f"cannot open {path.name}: {e.strerror}", hint=hint) from e
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ManifestError(place, f"{path.name} is not a regular file", hint="a package holds plain files only")
    return io.FileIO(fd)


def verify_files(directory: Path, files: tuple[PackageFile, ...], place: str) -> frozenset[str]:
    """The paths, once every file was found inside the package with its size and sha256."""
    seen: set[str] = set()
    for file in files:
        _check_path(file.path, place)
        if file.path.casefold() in seen:
            raise ManifestError(place, f'files: "{file.path}" is listed twice', hint="list each file once")
        seen.add(file.path.casefold())
    for file in files:
        _verify(directory, file, place)
    return frozenset(file.path for file in files)


def _check_path(path: str, place: str) -> None:
    parts = PurePosixPath(path).parts
    if not path.isprintable() or "\\" in path or path.startswith("/") or ".." in parts or not parts:
        reason = f"files: {path!a} does not stay inside the package"
        raise ManifestError(place, reason, hint="use a relative path without '..'")


def _verify(directory: Path, file: PackageFile, place: str) -> None:
    path = directory / file.path
    if not path.resolve().is_relative_to(directory.resolve()):
        reason = f'files: "{file.path}" leads out of the package'
        raise ManifestError(place, reason, hint="replace the link by a file")
    with open_file(path, place) as f:
        size = os.fstat(f.fileno()).st_size
        if size != file.size:
            raise ManifestError(place, f'files: "{file.path}" has {size} bytes, not {file.size}', hint=_CHANGED)
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    if sha256 != file.sha256:
        reason = f'files: "{file.path}" has sha256 {sha256}, not {file.sha256}'
        raise ManifestError(place, reason, hint=_CHANGED)
