"""Secrets by reference: the path of a file, or `credential:NAME` for what systemd loaded for this service.

The site file holds references only; what they lead to is shown nowhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from edge_agent.config.redact import HIDDEN
from edge_agent.errors import Retryable

MAX_BYTES = 4096

_EVERYONE = stat.S_IROTH | stat.S_IWOTH
_CREDENTIAL = "credential:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Secret:
    """A text that `repr`, `str`, logs and encoders do not show; `reveal` gives it to the library that needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not leave its process")


def read_secret(reference: str, environ: Mapping[str, str] = os.environ) -> Secret:
    """The secret without its last line end; read at each use, so that a rotated one counts at once.

    Raises Retryable, since a secret may be put right while the agent runs, for a file that is missing, not regular,
    too long, empty, not UTF-8, or that everyone may read or write.
    """
    path = secret_path(reference, environ)
    content = _content(path)
    if len(content) > MAX_BYTES:
        raise Retryable(f"{path} is longer than {MAX_BYTES} bytes", hint="is it the right file?")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        # not chained: the error would carry the content
        raise Retryable(f"{path} is not UTF-8", hint="save the secret as plain text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Retryable(f"{path} is empty", hint="write the secret into it, on one line")
    return Secret(text)


def secret_path(reference: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the secret is. Raises Retryable for a credential that systemd did not hand over."""
    if not reference.startswith(_CREDENTIAL):
        return Path(reference)
    name = reference.removeprefix(_CREDENTIAL)
    if not is_reference(reference):
        raise Retryable("a credential's name has letters, digits, '.', '_' and '-' only", hint="rename it")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        hint = f"run it as a service with LoadCredential={name}:/path/of/secret, or give a path"
        raise Retryable(f'no systemd credentials for "{name}"', hint=hint)
    return Path(folder) / name


def is_reference(reference: str) -> bool:
    """An absolute path, or `credential:NAME`."""
    if reference.startswith(_CREDENTIAL):
        return _NAME.fullmatch(reference.removeprefix(_CREDENTIAL)) is not None
    return Path(reference).is_absolute()


def mode_open_to_all(path: Path) -> int | None:
    """The mode of a file that everyone may read or write; None for one that is well kept or not there."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return mode if mode & _EVERYONE else None


def _content(path: Path) -> bytes:
    """At most one byte more than allowed; never blocks on a FIFO or a device."""
    if "\0" in str(path):
        raise Retryable("a path has no NUL", hint="correct the path")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            _check_stat(os.fstat(fd), path)
            return os.read(fd, MAX_BYTES + 1)
        finally:
            os.close(fd)
    except OSError as e:
        raise Retryable(f"cannot read {path}: {e.strerror}", hint=f"ls -l {path}; the agent must read it") from e


def _check_stat(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Retryable(f"{path} is not a regular file", hint="put the secret into a file of its own")
    if found.st_mode & _EVERYONE:
        mode = stat.S_IMODE(found.st_mode)
        raise Retryable(f"{path} is open to everyone (mode {mode:04o})", hint=f"chmod 0600 {path}")
