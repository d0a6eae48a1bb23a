"""Secrets by reference: a file's path, or `credential:NAME` for what systemd loaded for this service."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge_agent.errors import Retryable

_PREFIX = "credential:"
_MOST_BYTES = 4096


def read_secret(reference: str) -> str:
    """The secret's text without its last newline; read at each use, so that a rotated one counts at once.
    Raises Retryable for a file that is missing, unreadable, not regular, too long or not UTF-8."""
    path = _path(reference)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as f:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Retryable(f"{path} is not a regular file", hint="put the secret into a file of its own")
            content = f.read(_MOST_BYTES + 1)
    except OSError as e:
        hint = f"ls -l {path}; the agent's user must be able to read it"
        raise Retryable(f"cannot read {path}: {e.strerror}", hint=hint) from e
    if len(content) > _MOST_BYTES:
        raise Retryable(f"{path} is longer than {_MOST_BYTES} bytes", hint="is it the right file?")
    try:
        return content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as e:
        raise Retryable(f"{path} is not UTF-8", hint="save the secret as plain text") from e


def _path(reference: str) -> Path:
    if not reference.startswith(_PREFIX):
        return Path(reference)
    name = reference.removeprefix(_PREFIX)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        hint = f"run it as a service with LoadCredential={name}:/path/of/secret, or give a path"
        raise Retryable(f'no systemd credentials for "{name}"', hint=hint)
    return Path(folder) / Path(name).name
